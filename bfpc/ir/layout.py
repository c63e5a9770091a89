"""How ONNX tensors lay a feature map out.

ONNX tensors are views of (batch, channels, height, width) maps. `Axes` lists, for each ONNX axis, the map's axes that
are flattened into it: `("N", "C", "H", "W")` is the usual layout, `("N", "H", "W", "C")` the channels-last one, and
`("N", "CHW")` a flattened map. An axis of size 1 may be missing (`("N", "C")`), and `""` is an ONNX axis of size 1 that
belongs to none of the map's. Transposes and reshapes thereby cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Axes = tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """How the host lays a network input out for a first layer with few channels.

    Channel `(dy * kernel[1] + dx) * C + c` of the folded map at (y, x) is channel c of the padded input at
    (y * stride[0] + dy, x * stride[1] + dx). `source` is the input's (channels, height, width); pads are (top, left,
    bottom, right).
    """

    source: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]

    def apply(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """[batch, *source] to the folded [batch, channels, height, width]."""
        top, left, bottom, right = self.pads
        padded = np.pad(maps, ((0, 0), (0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(2, 3))
        windows = windows[:, :, :: self.stride[0], :: self.stride[1]]  # [batch, C, height, width, dy, dx]
        folded = windows.transpose(0, 4, 5, 1, 2, 3)
        return folded.reshape(len(maps), -1, *folded.shape[4:])


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
