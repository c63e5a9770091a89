"""How ONNX tensors lay a feature map out.

ONNX tensors are views of (batch, channels, height, width) maps. `Axes` lists, for each ONNX axis, the map's axes that
are flattened into it: `("N", "C", "H", "W")` is the usual layout, `("N", "H", "W", "C")` the channels-last one, and
`("N", "CHW")` a flattened map. An axis of size 1 may be missing (`("N", "C")`), and `""` is an ONNX axis of size 1 that
belongs to none of the map's. Transposes and reshapes thereby cost nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Axes = tuple[str, ...]


def to_onnx(maps: NDArray[np.floating], axes: Axes) -> NDArray[np.floating]:
    """[batch, channels, height, width] as the tensor that ONNX users see."""
    order = "".join(axes)
    absent = [axis for axis in "NCHW" if axis not in order]
    sizes = dict(zip("NCHW", maps.shape, strict=True))
    shape = [int(np.prod([sizes[axis] for axis in group])) for group in axes]
    return maps.transpose(["NCHW".index(axis) for axis in order + "".join(absent)]).reshape(shape)


def from_onnx(tensor: NDArray[np.floating], axes: Axes, shape: tuple[int, int, int]) -> NDArray[np.floating]:
    """The inverse of `to_onnx`: a batch of maps with `shape` = (channels, height, width)."""
    order = "".join(axes)
    sizes = dict(zip("CHW", shape, strict=True))
    batch = tensor.size // int(np.prod(shape))
    full = [batch if axis == "N" else sizes[axis] for axis in order]
    present = tensor.reshape(full).transpose([order.index(axis) for axis in "NCHW" if axis in order])
    return present.reshape(batch, *shape)
