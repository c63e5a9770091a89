"""How ONNX tensors lay a feature map out.

ONNX tensors are views of (batch, channels, height, width) maps. `Axes` lists, for each ONNX axis, the map's axes that
are flattened into it: `("N", "C", "H", "W")` is the usual layout, `("N", "H", "W", "C")` the channels-last one, and
`("N", "CHW")` a flattened map. An axis of size 1 may be missing (`("N", "C")`), and `""` is an ONNX axis of size 1 that
belongs to none of the map's. Transposes and reshapes thereby cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

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

    def apply(self, maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """[batch, *source] to the folded [batch, channels, *size]; beyond the pads the input counts as zero."""
        top, left = self.pads[:2]
        spans = [(n - 1) * stride + kernel for n, stride, kernel in zip(size, self.stride, self.kernel, strict=True)]
        canvas = np.zeros((*maps.shape[:2], *spans), np.float32)
        rows, columns = min(spans[0] - top, maps.shape[2]), min(spans[1] - left, maps.shape[3])
        canvas[:, :, top : top + rows, left : left + columns] = maps[:, :, :rows, :columns]
        windows = np.lib.stride_tricks.sliding_window_view(canvas, self.kernel, axis=(2, 3))
        windows = windows[:, :, :: self.stride[0], :: self.stride[1]]  # [batch, C, height, width, dy, dx]
        return windows.transpose(0, 4, 5, 1, 2, 3).reshape(len(maps), -1, *size)


def onnx_shape(axes: Axes, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of the ONNX tensor of one image, whose map is `shape` = (channels, height, width)."""
    sizes = dict(zip("NCHW", (1, *shape), strict=True))
    return tuple(prod(sizes[axis] for axis in group) for group in axes)


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
