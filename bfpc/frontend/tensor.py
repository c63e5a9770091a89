"""ONNX tensors as views of feature maps, and the algebra of their layouts.

A transpose, reshape, squeeze or flatten changes only the axes of a view; no operator of the graph comes of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Shape
from bfpc.ir.layout import Axes, from_onnx

CHANNELS_FIRST: Axes = ("N", "C", "H", "W")
CHANNELS_LAST: Axes = ("N", "H", "W", "C")


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor: the value that holds its map, the map's (channels, height, width), its axes, the batch size."""

    value: str
    map_shape: Shape
    axes: Axes
    batch: int = 1

    def size(self, axis: str) -> int:
        """The size of one of the map's axes N, C, H, W."""
        return (self.batch, *self.map_shape)["NCHW".index(axis)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that ONNX sees."""
        return tuple(math.prod(map(self.size, group)) for group in self.axes)

    @property
    def layout(self) -> Axes:
        """The axes without the map's axes of size 1, which may stand anywhere: equal for equal memory order."""
        return tuple("".join(axis for axis in group if self.size(axis) > 1) for group in self.axes)

    def has_layout(self, axes: Axes) -> bool:
        return self.layout == replace(self, axes=axes).layout


def require_channels_first(tensor: Tensor) -> Tensor:
    """The tensor with axes (N, C, H, W); raises Unsupported where its memory order is another."""
    if len(tensor.axes) == 3:
        raise Unsupported(
            "1-D, where the accelerator has 2-D maps", "reshape it to [N, C, 1, L] and use a 2-D operator"
        )
    if len(tensor.axes) != 4:
        raise Unsupported(f"{len(tensor.axes)}-D, where the accelerator has [N, C, H, W]", "use 2-D operators")
    if not tensor.has_layout(CHANNELS_FIRST):
        raise Unsupported(
            f"its input's axes are {show(tensor.axes)}, not (N, C, H, W)",
            "transpose the input to channels first; such a Transpose costs nothing",
        )
    return replace(tensor, axes=CHANNELS_FIRST)


def transposed(tensor: Tensor, order: Sequence[int]) -> Tensor:
    return replace(tensor, axes=tuple(tensor.axes[index] for index in order))


def reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor with another shape of the same size; raises Unsupported where that would split an axis of the map."""
    remaining = deque("".join(tensor.axes))
    axes = tuple(_take(tensor, remaining, size) for size in shape)
    if None in axes or any(tensor.size(axis) > 1 for axis in remaining):
        raise Unsupported(
            f"it splits or regroups the axes {show(tensor.axes)}",
            "keep channels, height and width whole, or leave this to the host after the last layer",
        )
    return replace(tensor, axes=tuple(axis or "" for axis in axes))


def _take(tensor: Tensor, remaining: deque[str], size: int) -> str | None:
    """The next axes of the map whose sizes multiply to `size`, without axes of size 1; None if there are none."""
    if size == 1:
        return remaining.popleft() if remaining and tensor.size(remaining[0]) == 1 else ""
    group, product = "", 1
    while product < size and remaining:
        axis = remaining.popleft()
        if tensor.size(axis) > 1:
            group, product = group + axis, product * tensor.size(axis)
    return group if product == size else None


def per_channel(tensor: Tensor, constant: NDArray[np.float32]) -> NDArray[np.float32]:
    """A constant that broadcasts against the tensor, as one number per channel; Unsupported if it isn't."""
    try:
        everywhere = np.broadcast_to(constant, tensor.shape)
    except ValueError:
        raise Unsupported(
            f"its constant {list(constant.shape)} would broadcast the feature map {list(tensor.shape)}",
            "give the constant a shape that fits the map",
        ) from None
    maps = from_onnx(everywhere, tensor.axes, tensor.map_shape)
    channels = np.ascontiguousarray(maps[0, :, 0, 0])
    if not np.array_equal(maps, np.broadcast_to(channels[None, :, None, None], maps.shape), equal_nan=True):
        raise Unsupported("its constant varies within a channel", "use a scalar or one number per channel")
    return channels.astype(np.float32)


def show(axes: Axes) -> str:
    return "(" + ", ".join(group or "1" for group in axes) + ")"
