"""ONNX tensors as views of feature maps, and the algebra of their layouts.

A transpose, reshape, squeeze or flatten changes only the axes of a view; no operator of the graph comes of it. A
reshape may split an axis of the map: lower-case letters then stand for the parts. Where they don't come together again,
`rearranging` finds the convolution that moves the elements.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Shape
from bfpc.ir.layout import Axes, from_onnx

CHANNELS_FIRST: Axes = ("N", "C", "H", "W")
CHANNELS_LAST: Axes = ("N", "H", "W", "C")
ONE_DIMENSIONAL: tuple[Axes, ...] = (("N", "C", "W"), ("N", "C", "H"))
MAP_AXES = (CHANNELS_FIRST, CHANNELS_LAST, *ONE_DIMENSIONAL)


@dataclass(frozen=True)
class Part:
    """A part of an axis N, C, H or W of the map: index i of it stands for i * stride along the axis."""

    axis: str
    size: int
    stride: int


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor: the value that holds its map, the map's (channels, height, width), its axes, the batch size.

    parts: what the lower-case letters in `axes` stand for.
    """

    value: str
    map_shape: Shape
    axes: Axes
    batch: int = 1
    parts: Mapping[str, Part] = field(default_factory=dict)

    def size(self, axis: str) -> int:
        """The size of one of the map's axes N, C, H, W, or of a part."""
        return self.parts[axis].size if axis in self.parts else (self.batch, *self.map_shape)["NCHW".index(axis)]

    @property
    def is_whole(self) -> bool:
        """Whether no axis of the map is split: only then does `ir.layout` know the axes."""
        return not self.parts

    def part(self, axis: str) -> Part:
        """The part that a letter stands for; a whole axis is its own only part."""
        return self.parts.get(axis) or Part(axis, self.size(axis), 1)

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


def is_channels_first(tensor: Tensor) -> bool:
    """Whether its axes are (N, C, H, W), whichever of them have size 1."""
    return len(tensor.axes) == 4 and tensor.is_whole and tensor.has_layout(CHANNELS_FIRST)


def channels_first(tensor: Tensor) -> Tensor:
    """The tensor with axes (N, C, H, W), or (N, C, W) or (N, C, H) if it is 1-D; Unsupported for other orders."""
    if not 3 <= len(tensor.axes) <= 4:
        raise Unsupported(
            f"its input has {len(tensor.axes)} axes, where the accelerator has [N, C, H, W] and [N, C, L]",
            "use 2-D or 1-D operators",
        )
    for axes in (CHANNELS_FIRST,) if len(tensor.axes) == 4 else ONE_DIMENSIONAL:
        if tensor.has_layout(axes):
            return replace(tensor, axes=axes)
    raise Unsupported(
        f"its input's axes are {show(tensor.axes)}, not (N, C, H, W)",
        "transpose the input to channels first; such a Transpose costs nothing",
    )


def transposed(tensor: Tensor, order: Sequence[int]) -> Tensor:
    return replace(tensor, axes=tuple(tensor.axes[index] for index in order))


def reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor with another shape of the same size; raises Unsupported where sizes don't divide each other."""
    remaining, parts = deque("".join(tensor.axes)), dict(tensor.parts)
    groups = [_take(replace(tensor, parts=parts), remaining, size, parts) for size in shape]
    if None in groups or any(replace(tensor, parts=parts).size(axis) > 1 for axis in remaining):
        raise Unsupported(
            f"it regroups the axes {show(tensor.axes)} across each other",
            "keep channels, height and width whole, or split them evenly",
        )
    return _joined(replace(tensor, axes=tuple(group or "" for group in groups), parts=parts))


def _take(tensor: Tensor, remaining: deque[str], size: int, parts: dict[str, Part]) -> str | None:
    """The next axes of the map whose sizes multiply to `size`, without axes of size 1; None if there are none.

    Splits the last of them, adding to `parts`, where it is too large.
    """
    if size == 1:
        return remaining.popleft() if remaining and tensor.size(remaining[0]) == 1 else ""
    group, product = "", 1
    while product < size and remaining:
        axis = remaining.popleft()
        extent = tensor.size(axis)
        if extent > 1 and product * extent > size and size % product == 0 and extent % (size // product) == 0:
            axis, fine = _split(tensor.part(axis), size // product, parts)
            remaining.appendleft(fine)
            extent = size // product
        if extent > 1:
            group, product = group + axis, product * extent
    return group if product == size else None


def _split(part: Part, size: int, parts: dict[str, Part]) -> tuple[str, str]:
    """New letters for the coarse part of `size` and the fine part that it is made of."""
    coarse, fine = [letter for letter in ascii_lowercase if letter not in parts][:2]
    fine_size = part.size // size
    parts[coarse] = Part(part.axis, size, part.stride * fine_size)
    parts[fine] = Part(part.axis, fine_size, part.stride)
    return coarse, fine


def _joined(tensor: Tensor) -> Tensor:
    """The same tensor, with neighbouring parts of an axis made one, and the axis itself where none is missing."""
    parts: dict[str, Part] = {}
    axes = []
    for group in tensor.axes:
        joined = ""
        for axis in group:
            part, before = tensor.part(axis), parts.get(joined[-1:])
            if before and before.axis == part.axis and before.stride == part.size * part.stride:
                part = Part(part.axis, before.size * part.size, part.stride)
                axis, joined = joined[-1], joined[:-1]
                del parts[axis]
            if part.size == tensor.size(part.axis):
                axis = part.axis
            else:
                parts[axis] = part
            joined += axis
        axes.append(joined)
    return replace(tensor, axes=tuple(axes), parts=parts)


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


def named(tensor: Tensor) -> Tensor:
    """The tensor with the map's axes of size 1 that it doesn't show in place of its own axes of size 1, in order."""
    missing = iter([letter for letter in "CHW" if letter not in "".join(tensor.axes)])
    return replace(tensor, axes=tuple(group or next(missing, "") for group in tensor.axes))


def single_axis(tensor: Tensor, axis: int, verb: str) -> str:
    """The map's axis that an ONNX axis of a `named` tensor is."""
    group = tensor.layout[axis] or tensor.axes[axis]
    if len(group) != 1:
        raise Unsupported(f"it {verb} axis {axis} of {show(tensor.axes)}", "do it before the map is flattened")
    return group


def show(axes: Axes) -> str:
    return "(" + ", ".join(group or "1" for group in axes) + ")"
