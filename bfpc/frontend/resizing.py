"""Resize and Upsample by whole factors.

nearest   ->  Pass with input_dilation, which repeats every position; or with a stride, where the map becomes smaller
linear    ->  Conv of each channel with input_dilation and a triangle as its filter; or with a stride and two taps
linear from n to f * n positions, corners aligned    ->  nearest, plus differences of neighbours times PositionScale

Positions beyond the map repeat its edge, which is the same as ONNX's clamping of coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isinf
from typing import Literal

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, constant, has_input
from bfpc.frontend.node_builder import NodeBuilder, Step, chain, within
from bfpc.frontend.tensor import Tensor, named, single_axis
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Activate, Conv, Elementwise, PadMode, Pads, Pair, Pass, PositionScale
from bfpc.numerics.layer import TABLE_ENTRIES

Numbers = NDArray[np.float64]
Axis = Literal["row", "column"]
WHOLE_FACTORS = "resize by a whole factor, nearest or linear, or leave this to the host"
ROUNDINGS: Mapping[str, Callable[[Numbers], Numbers]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True)
class Change:
    """How one axis changes from `size` to `output` positions; output i lies at `(i + shift) / scale + offset`."""

    size: int
    output: int
    scale: float
    shift: float
    offset: float

    @property
    def start(self) -> float:
        return self.shift / self.scale + self.offset

    @property
    def factor(self) -> int:
        return max(round(self.scale), 1)

    @property
    def step(self) -> int:
        return max(round(1 / self.scale), 1)


@dataclass(frozen=True)
class Filter:
    """A filter along one axis that does the same; `before` and `after` are the pads."""

    taps: tuple[float, ...] = (1.0,)
    dilation: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0

    @property
    def pad_mode(self) -> PadMode:
        """Zeros serve where a window that holds one position never lies beyond the map."""
        nearest = len(self.taps) == self.dilation
        return "zero" if max(self.before, self.after) < (self.dilation if nearest else 1) else "edge"


@dataclass(frozen=True)
class Drift:
    """Linear interpolation along one axis where outputs drift against the map: `nearest` plus each of `terms`.

    A term is a filter and what each output of that is multiplied by.
    """

    nearest: Filter
    terms: tuple[tuple[Filter, Numbers], ...]


UNCHANGED = Filter()


def import_resize(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, mode = named(net.feature(node)), _text(node, "mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"its mode is {mode}", WHOLE_FACTORS)
    if node.attributes.get_int("antialias", 0) or _text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("it is antialiased or keeps the aspect ratio", WHOLE_FACTORS)
    filters: dict[str, Filter | Drift] = {}
    for axis, (output, scale) in _targets(node, x).items():
        if output != x.shape[axis]:
            change = Change(x.shape[axis], output, *_coordinates(node, x.shape[axis], output, scale))
            found = _nearest(node, change) if mode == "nearest" else _linear(change)
            filters[single_axis(x, axis, "resizes")] = found
    if "N" in filters or "C" in filters:
        raise Unsupported("it resizes the batch or the channels", "resize height and width only")
    return _resized(NodeBuilder(node, net), x, filters.get("H", UNCHANGED), filters.get("W", UNCHANGED))


def _targets(node: onnx_ir.Node, x: Tensor) -> dict[int, tuple[int, float]]:
    """For each ONNX axis its new size and the scale, from whichever argument the opset has."""
    axes = [int(axis) % len(x.axes) for axis in node.attributes.get_ints("axes") or range(len(x.axes))]
    if has_input(node, 3) and constant(node, 3).size:
        sizes = [int(size) for size in constant(node, 3).ravel()]
        _check_count(axes, sizes)
        return {axis: (size, size / x.shape[axis]) for axis, size in zip(axes, sizes, strict=True)}
    index = 2 if len(node.inputs) > 2 else 1
    given = node.attributes.get_floats("scales") or constant(node, index).astype(np.float64).ravel().tolist()
    _check_count(axes, given)
    return {axis: (floor(x.shape[axis] * scale), float(scale)) for axis, scale in zip(axes, given, strict=True)}


def _check_count(axes: Sequence[int], given: Sequence[float]) -> None:
    if len(given) != len(axes) or not all(each > 0 and not isinf(each) for each in given):
        raise Unsupported(f"its sizes or scales are {list(given)} for {len(axes)} axes", "export the network again")


def _coordinates(node: onnx_ir.Node, size: int, output: int, scale: float) -> tuple[float, float, float]:
    """Scale, shift and offset of a `Change`; one definition of ONNX each."""
    since_11 = len(node.inputs) > 2
    mode = _text(node, "coordinate_transformation_mode", "half_pixel" if since_11 else "asymmetric")
    if output == 1 and mode in ("pytorch_half_pixel", "align_corners"):
        return scale, 0.0, 0.0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return scale, 0.5, -0.5
    if mode == "half_pixel_symmetric":
        return scale, 0.5, size / 2 * (1 - output / (scale * size)) - 0.5
    if mode == "asymmetric":
        return scale, 0.0, 0.0
    if mode == "align_corners":
        return (output - 1) / max(size - 1, 1), 0.0, 0.0
    if mode == "tf_half_pixel_for_nn":
        return scale, 0.5, 0.0
    raise Unsupported(f"its coordinate_transformation_mode is {mode}", WHOLE_FACTORS)


def _nearest(node: onnx_ir.Node, change: Change) -> Filter:
    """The filter of ones that reads the positions which rounding chooses; Unsupported if they follow no pattern."""
    rounding = ROUNDINGS[_text(node, "nearest_mode", "round_prefer_floor" if len(node.inputs) > 2 else "floor")]
    i = np.arange(change.output)
    shifted = i.astype(np.float32) + np.float32(change.shift)  # float32, as ONNX's scales and onnxruntime are
    coordinates = np.asarray(shifted / np.float32(change.scale) + np.float32(change.offset), np.float64)
    chosen = np.clip(rounding(coordinates), 0, change.size - 1).astype(int)
    if np.array_equal(chosen, i * change.step + chosen[0]):
        return _padded(change, (1.0,), 1, change.step, -int(chosen[0]))
    for factor in {1, change.factor}:
        for shift in range(-factor, 2 * factor):
            if np.array_equal(chosen, np.clip((i + shift) // factor, 0, change.size - 1)):
                return _padded(change, (1.0,) * factor, factor, 1, factor - 1 - shift)
    raise Unsupported(f"it makes {change.output} positions of {change.size}", WHOLE_FACTORS)


def _linear(change: Change) -> Filter | Drift:
    """The triangle, or the two taps, of linear interpolation; Unsupported where their weights follow no pattern."""
    if change.size == 1:
        return _padded(change, (1.0,), 1, 1, 0)
    factor, step, tolerance = change.factor, change.step, 1e-6
    if abs(change.scale - factor) < tolerance:
        offset = change.start * factor
        taps = np.arange(ceil(offset - factor + tolerance), floor(offset + factor - tolerance) + 1)
        weights = 1 - np.abs(taps - offset) / factor
        return _padded(change, tuple(weights.tolist()), factor, 1, -int(taps[0]))
    if abs(1 / change.scale - step) < tolerance:
        first = floor(change.start + tolerance)
        fraction = change.start - first
        return _padded(change, (1 - fraction, fraction) if fraction > tolerance else (1.0,), 1, step, -first)
    aligned = change.start == 0 and abs(change.scale - (change.output - 1) / (change.size - 1)) < tolerance
    if aligned and change.output % change.size == 0:
        return _drift(change, change.output // change.size)
    raise Unsupported(f"it makes {change.output} positions of {change.size}", WHOLE_FACTORS)


def _drift(change: Change, factor: int) -> Drift:
    """Output f * q + r lies at q + d, |d| < 1: x[q] + max(d, 0) * (x[q+1] - x[q]) + max(-d, 0) * (x[q-1] - x[q]).

    d is never positive for r = 0, nor negative for r = f - 1. So one term serves x[q-1] for r = 0 and x[q+1] for all
    other r; a second one, which a factor of 2 doesn't need, serves x[q-1] for those.
    """
    output = change.output
    if output > TABLE_ENTRIES:
        raise Unsupported(
            f"it aligns the corners of {output} positions, more than a table's {TABLE_ENTRIES}", WHOLE_FACTORS
        )
    position, phase = np.divmod(np.arange(output), factor)
    distance = (phase * (change.size - 1) - position * (factor - 1)) / (output - 1)
    first = (phase == 0) | (distance > 0)
    sides = [np.where(np.arange(factor) == 0, -1, 1), np.full(factor, -1)]
    scales = [np.where(first, np.abs(distance), 0), np.where(first, 0, np.abs(distance))]
    terms = [
        (_difference(change, factor, side), scale) for side, scale in zip(sides, scales, strict=True) if scale.any()
    ]
    return Drift(_padded(change, (1.0,) * factor, factor, 1, factor - 1), tuple(terms))


def _difference(change: Change, factor: int, side: NDArray[np.integer]) -> Filter:
    """A neighbour minus the position itself, for each output; side: 1 or -1 for each r, where that neighbour lies."""
    # Of x[q-1], x[q] and x[q+1], each for r = f - 1 down to 0: a filter's taps meet positions in this order.
    taps = np.stack([side[::-1] == -1, np.full(factor, -1), side[::-1] == 1])
    start, last = np.flatnonzero(taps)[[0, -1]]
    return _padded(change, tuple(taps.ravel()[start : last + 1].tolist()), factor, 1, 2 * factor - 1 - int(start))


def _padded(change: Change, taps: tuple[float, ...], dilation: int, stride: int, before: int) -> Filter:
    """The filter with the pads after the map that give all outputs."""
    after = (change.output - 1) * stride + len(taps) - before - ((change.size - 1) * dilation + 1)
    return Filter(taps, dilation, stride, before, after)


def _resized(build: NodeBuilder, x: Tensor, rows: Filter | Drift, columns: Filter | Drift) -> Tensor:
    """Both axes at once, or one after the other where outputs drift along one."""
    if isinstance(rows, Filter) and isinstance(columns, Filter):
        return _filtered(build, x, rows, columns)
    changes: dict[Axis, Filter | Drift] = {"row": rows, "column": columns}
    steps = [(f"{axis}s", _along(build, axis, change)) for axis, change in changes.items() if change != UNCHANGED]
    return chain(x, steps)


def _along(build: NodeBuilder, axis: Axis, change: Filter | Drift) -> Step:
    def filtered(x: Tensor, how: Filter, role: str) -> Tensor:
        rows, columns = (how, UNCHANGED) if axis == "row" else (UNCHANGED, how)
        return _filtered_once(build, x, rows, columns, role)

    def drifted(x: Tensor, drift: Drift, role: str) -> Tensor:
        y = filtered(x, drift.nearest, within(role, "nearest"))
        for index, (how, scale) in enumerate(drift.terms, 1):
            name = within(role, f"difference{index}")
            table = build.derive(name, "table", scale)
            term = filtered(x, how, name)
            term = build.emit(Activate(PositionScale(axis)), term, within(name, "scaled"), table=table)
            last = index == len(drift.terms)
            y = build.emit(Elementwise("add"), y, role if last else within(role, f"sum{index}"), residual=term.value)
        return y

    if isinstance(change, Filter):
        return lambda x, role: filtered(x, change, role)
    return lambda x, role: drifted(x, change, role)


def _filtered(build: NodeBuilder, x: Tensor, rows: Filter, columns: Filter) -> Tensor:
    """One node; two where one axis becomes larger and the other smaller."""
    if max(rows.dilation, columns.dilation) > 1 and max(rows.stride, columns.stride) > 1:
        x = _filtered_once(build, x, rows, UNCHANGED, "rows")
        return _filtered_once(build, x, UNCHANGED, columns, "")
    return x if rows == columns == UNCHANGED else _filtered_once(build, x, rows, columns, "")


def _filtered_once(build: NodeBuilder, x: Tensor, rows: Filter, columns: Filter, role: str) -> Tensor:
    pads: Pads = (rows.before, columns.before, rows.after, columns.after)
    stride, dilation = (rows.stride, columns.stride), (rows.dilation, columns.dilation)
    mode: PadMode = "edge" if "edge" in (rows.pad_mode, columns.pad_mode) else "zero"
    if all(set(axis.taps) == {1.0} and len(axis.taps) == axis.dilation for axis in (rows, columns)):
        return build.emit(Pass(stride, pads, dilation, mode), x, role)
    taps = np.outer(rows.taps, columns.taps)
    kernel: Pair = (len(rows.taps), len(columns.taps))
    channels = x.map_shape[0]
    weight = build.derive(role, "weight", np.broadcast_to(taps, (channels, 1, *kernel)))
    op = Conv(kernel, stride, pads, groups=channels, input_dilation=dilation, pad_mode=mode)
    return build.emit(op, x, role, weight=weight)


def _text(node: onnx_ir.Node, attribute: str, default: str) -> str:
    return node.attributes.get_string(attribute, default) or default
