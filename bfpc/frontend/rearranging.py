"""Tensors whose axes a Reshape has split, as convolutions with weights 0 and 1 that move the elements.

Reshape [N, g, C/g, H, W], Transpose, Reshape [N, C, H, W]         ->  Conv, one tap                   (channel shuffle)
Reshape [N, b, b, C, H, W], Transpose, Reshape [N, C, bH, bW]      ->  Conv, input_dilation b, kernel b (depth to space)
Reshape [N, C, H, b, W, b], Transpose, Reshape [N, bbC, H, W]      ->  Conv, stride b, kernel b         (space to depth)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bfpc.frontend.tensor import Part, Tensor
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Conv

MOST_WEIGHTS = 1 << 26  # a convolution beyond moves elements less well than the host
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Rearrangement:
    """A convolution of a tensor's map, and the axes of what it makes."""

    op: Conv
    weight: NDArray[np.float32]
    axes: Axes


def rearrangement(tensor: Tensor, axes: Axes) -> Rearrangement | None:
    """What makes a map laid out as `axes` of a tensor; None where no convolution does, or only a huge one."""
    if len(tensor.axes) != len(axes) or tensor.layout[0] not in ("N", ""):
        return None
    groups = {letter: [tensor.part(axis) for axis in group] for letter, group in zip(axes, tensor.layout, strict=True)}
    channels = groups["C"]
    (stride_y, rows), (stride_x, columns) = _kept(tensor, groups, "H"), _kept(tensor, groups, "W")
    if any(part.axis != "C" for part in (*rows, *columns)) or any(part.axis == "N" for part in channels):
        return None
    stride, factors = (stride_y, stride_x), (prod(part.size for part in rows), prod(part.size for part in columns))
    if stride != (1, 1) and factors != (1, 1):
        return None
    # output channel o at offset (y, x) within its kernel is channel `source` of the map, seen by the tap (y, x)
    source = _indices(channels, "C")[:, None, None] + np.add.outer(_indices(rows, "C"), _indices(columns, "C"))
    shape = (len(source), tensor.size("C"), *(factors if stride == (1, 1) else stride))
    if prod(shape) > MOST_WEIGHTS:
        return None
    weight = np.zeros(shape, np.float32)
    o, y, x = np.indices(source.shape)
    if stride == (1, 1):
        weight[o, source, factors[0] - 1 - y, factors[1] - 1 - x] = 1
        pads = (factors[0] - 1, factors[1] - 1) * 2
        return Rearrangement(Conv(factors, pads=pads, input_dilation=factors), weight, axes)
    weight[o, source, _indices(channels, "H")[o], _indices(channels, "W")[o]] = 1
    return Rearrangement(Conv(stride, stride), weight, axes)


def _kept(tensor: Tensor, groups: dict[str, list[Part]], axis: str) -> tuple[int, list[Part]]:
    """The stride of the part of a spatial axis that remains one, and what follows it there."""
    size, parts = tensor.size(axis), groups.get(axis, [])
    if size > 1 and parts and parts[0].axis == axis and parts[0].size * parts[0].stride == size:
        return parts[0].stride, parts[1:]
    return size, parts


def _indices(parts: Sequence[Part], axis: str) -> Indices:
    """For every index into the joined parts, the index along one axis of the map."""
    indices = np.zeros(1, np.intp)
    for part in parts:
        steps = np.arange(part.size) * (part.stride if part.axis == axis else 0)
        indices = np.add.outer(indices, steps).ravel()
    return indices
