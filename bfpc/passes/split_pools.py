"""Pools a window larger than the buffers in several steps: along its rows, then down its columns.

    %y = Pass(x) {pool 122x122}
    ->  %y.pool0 = Pass(x) {pool 1x122}; %y = Pass(%y.pool0) {pool 122x1}

Rows come first as a tile can be one row, but seldom one column. Where a row or column is too long by itself, and
windows don't overlap, it is pooled in parts of equal length first. A maximum has no order, and counts of an average are
products of counts along its axes; what the steps in between store is rounded, as all maps are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bfpc.ir.graph import Graph, Node, Value
from bfpc.ir.operators import Pair, Pass, Tail, Window
from bfpc.ir.shapes import array_size

Fits = Callable[[Window, Pair], bool]


def split_pools(graph: Graph, fits: Callable[[Node, Window, Pair], bool]) -> Graph:
    """`fits` tells whether a layer, given by its node, can pool a map of some size with a window."""
    return graph.with_nodes([part for node in graph.nodes for part in _split(graph, node, partial(fits, node))])


def _split(graph: Graph, node: Node, fits: Fits) -> list[Node]:
    pool = node.op.tail.pool if isinstance(node.op, Pass) else None
    if pool is None:
        return [node]
    size = array_size(node.layer, graph.value(node.inputs["x"]).shape[1:])
    nodes: list[Node] = []
    for window in cascade(pool, size, fits):
        size = window.output_size(size)
        output = Value(f"{node.name}.pool{len(nodes)}", (node.output.shape[0], *size))
        if nodes:
            nodes.append(Node(Pass(tail=Tail(pool=window)), {"x": nodes[-1].name}, output))
        else:
            first = replace(node.layer, tail=replace(node.layer.tail, pool=window))
            nodes.append(replace(node, op=first, output=output))
    return [*nodes[:-1], replace(nodes[-1], output=node.output)]


def cascade(window: Window, size: Pair, fits: Fits) -> list[Window]:
    """The windows, to be pooled with one after another, that `window` is made of on a map of `size`."""
    if fits(window, size):
        return [window]
    top, left, bottom, right = window.pads
    if 1 not in window.kernel:
        rows = replace(window, kernel=(1, window.kernel[1]), stride=(1, window.stride[1]), pads=(0, left, 0, right))
        columns = replace(window, kernel=(window.kernel[0], 1), stride=(window.stride[0], 1), pads=(top, 0, bottom, 0))
        return [*cascade(rows, size, fits), *cascade(columns, rows.output_size(size), fits)]
    axis = 0 if window.kernel[1] == 1 else 1
    single = window.output_size(size)[axis] == 1
    if any(window.pads) or not (single or window.stride[axis] == window.kernel[axis]):
        return [window]
    return _in_parts(window, axis, size, fits)


def _in_parts(window: Window, axis: int, size: Pair, fits: Fits) -> list[Window]:
    """Parts as long as fit, and the window over their results; the window itself where no part divides it."""
    length = window.kernel[axis]
    for part in range(length // 2, 1, -1):
        if length % part:
            continue
        inner, outer = _along(window, axis, part), _along(window, axis, length // part)
        if fits(inner, size):
            return [inner, *cascade(outer, inner.output_size(size), fits)]
    return [window]


def _along(window: Window, axis: int, length: int) -> Window:
    sides: Pair = (length, 1) if axis == 0 else (1, length)
    return replace(window, kernel=sides, stride=sides)
