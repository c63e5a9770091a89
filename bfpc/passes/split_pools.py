"""Pools a window larger than the buffers in several steps: along its rows, then down its columns.

    %y = Pass(x) {pool 122x122}
    ->  %y.pool0 = Pass(x) {pool 1x122}; %y = Pass(%y.pool0) {pool 122x1}

Rows come first as a tile can be one row, but seldom one column. Where a row or column is too long by itself, and
windows don't overlap, it is pooled in parts of equal length first. Others are

    %y = Pass(x) {max pool 27x1, stride 2x1}
    ->  %y.pool0 = Pass(x) {max pool 16x1, stride 1}; %y = Pass(%y.pool0) {max pool 12x1, stride 2x1}

    %y = Pass(x) {average pool 27x1}
    ->  %y = Depthwise(x, all 1/16) {16/27 of every row, where pads aren't counted more}

A maximum has no order, and counts of an average are products of counts along its axes; what the steps in between store
is rounded, as all maps are. A window along one axis may leave it to `split_channels` to slice the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import NO_PADS, Depthwise, Pads, Pair, Pass, PositionScale, Tail, Window
from bfpc.ir.shapes import array_size
from bfpc.numerics.layer import TABLE_ENTRIES
from bfpc.passes.buffers import layer_fits, most_channels

AXES: tuple[Literal["row", "column"], ...] = ("row", "column")
Fits = Callable[[Window, Pair, int], bool]  # a window on a map of some size and so many channels


def split_pools(graph: Graph, config: Config) -> Graph:
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, Pass) and node.op.tail.pool is not None and not layer_fits(graph, config, node):
            nodes += _split(graph, config, node, node.op.tail.pool, constants)
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, constants)


def _split(graph: Graph, config: Config, node: Node, pool: Window, constants: dict[str, Constant]) -> list[Node]:
    def fits(window: Window, size: Pair, channels: int) -> bool:
        return most_channels(graph, config, node, Pass(tail=Tail(pool=window)), size) >= channels

    channels, height, width = graph.value(node.inputs["x"]).shape
    size = array_size(node.layer, (height, width))
    nodes: list[Node] = []
    first = replace(node.layer, tail=replace(node.layer.tail, pool=None))
    if first != Pass() or node.inputs.keys() != {"x"}:
        nodes.append(replace(node, op=first, output=Value(f"{node.name}.map", (channels, *size))))
    for index, window in enumerate(cascade(pool, size, channels, fits)):
        x = nodes[-1].name if nodes else node.inputs["x"]
        output = Value(f"{node.name}.pool{index}", (channels, *window.output_size(size)))
        step = Node(Pass(tail=Tail(pool=window)), {"x": x}, output)
        sums = window.kind == "average" and not fits(window, size, 1) and max(output.shape[1:]) <= TABLE_ENTRIES
        nodes.append(_summed(step, window, size, constants) if sums else step)
        size = window.output_size(size)
    return [*nodes[:-1], replace(nodes[-1], output=node.output)]


def cascade(window: Window, size: Pair, channels: int, fits: Fits) -> list[Window]:
    """The windows, to be pooled with one after another, that `window` is made of on a map of `size`."""
    if fits(window, size, channels):
        return [window]
    rows, columns = _along(window, 1), _along(window, 0)
    if window not in (rows, columns):
        inner = rows.output_size(size)
        return [*cascade(rows, size, channels, fits), *cascade(columns, inner, channels, fits)]
    parts = _in_parts(window, size, channels, fits)
    if parts or window.kind == "average" or fits(window, size, 1):
        return parts or [window]
    return _overlapping(window, size, channels, fits)


def _along(window: Window, axis: int) -> Window:
    """What a window does along one axis."""
    top, left, bottom, right = window.pads
    if axis == 0:
        return replace(window, kernel=(window.kernel[0], 1), stride=(window.stride[0], 1), pads=(top, 0, bottom, 0))
    return replace(window, kernel=(1, window.kernel[1]), stride=(1, window.stride[1]), pads=(0, left, 0, right))


def _axis(window: Window) -> int:
    """The axis of a window that has only one."""
    return 0 if window == _along(window, 0) else 1


def _resized(window: Window, length: int, stride: int) -> Window:
    """A window along the same axis, without pads."""
    square = replace(window, kernel=(length, length), stride=(stride, stride), pads=NO_PADS)
    return _along(square, _axis(window))


def _in_parts(window: Window, size: Pair, channels: int, fits: Fits) -> list[Window]:
    """Parts as long as fit, and the window over their results; none where windows overlap or no part divides them."""
    axis = _axis(window)
    length = window.kernel[axis]
    single = window.output_size(size)[axis] == size[axis] // length == 1
    if any(window.pads) or not (single or window.stride[axis] == length):
        return []
    for part in (part for part in range(length // 2, 1, -1) if length % part == 0):
        inner, outer = _resized(window, part, part), _resized(window, length // part, length // part)
        if fits(inner, size, channels):
            return [inner, *cascade(outer, inner.output_size(size), channels, fits)]
    return []


def _overlapping(window: Window, size: Pair, channels: int, fits: Fits) -> list[Window]:
    """A maximum as that of shorter windows at every position; the window itself where none fits."""
    axis = _axis(window)
    length, stride = window.kernel[axis], window.stride[axis]
    for part in range(length - 1, 1, -1):
        early, late = _shared_pads(window.pads, part - 1)
        inner = replace(_resized(window, part, 1), pads=early)
        outer = replace(_resized(window, length - part + 1, stride), pads=late)
        if fits(inner, size, 1):
            return [inner, *cascade(outer, inner.output_size(size), channels, fits)]
    return [window]


def _shared_pads(pads: Pads, most: int) -> tuple[Pads, Pads]:
    """At most so many pads on every side, which leave no window without a position of the map, and the others."""
    top, left, bottom, right = pads
    early = (min(top, most), min(left, most), min(bottom, most), min(right, most))
    return early, (top - early[0], left - early[1], bottom - early[2], right - early[3])


def _summed(step: Node, window: Window, size: Pair, constants: dict[str, Constant]) -> Node:
    """An average along one axis as a sum of its positions, in parts that are a power of two, times what is missing.

    step: the layer that pools with `window` a map of `size`.
    """
    axis, name = _axis(window), step.name
    counts = _counts(window, size, axis)
    parts = 2.0 ** np.floor(np.log2(counts.min()))
    weight: NDArray[np.float32] = np.full((step.output.shape[0], 1, *window.kernel), 1 / parts, np.float32)
    constants[f"{name}.weight"], constants[f"{name}.table"] = weight, (parts / counts).astype(np.float32)
    op = Depthwise(window.kernel, window.stride, window.pads, tail=Tail(PositionScale(AXES[axis])))
    inputs = {**step.inputs, "weight": f"{name}.weight", "table": f"{name}.table"}
    return replace(step, op=op, inputs=inputs)


def _counts(window: Window, size: Pair, axis: int) -> NDArray[np.integer]:
    """How many positions each window along an axis counts."""
    outputs, length = window.output_size(size)[axis], window.kernel[axis]
    if window.count_padding:
        return np.full(outputs, length)
    starts = np.arange(outputs) * window.stride[axis] - window.pads[axis]
    return np.minimum(starts + length, size[axis]) - np.maximum(starts, 0)
