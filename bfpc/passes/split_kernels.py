"""Makes a sum of convolutions of one whose filter needs more of its map than the feature buffer holds.

    %y = Conv(x, w), 7x7 on 8192 channels
    ->  %y.part0 = Conv(channels 0..4095 of x, w0); %y = Conv(the other channels, w1, residual=%y.part0)

Parts are slices of the input channels; where one vector of channels is still too much, of the filter's rows, too. The
sums of the parts before are stored in between, and so rounded, as all maps are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bfpc.config import ArraySize
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Channels, Conv, Pass, Tail
from bfpc.ir.shapes import array_size
from bfpc.passes.fuse_tails import region

Part = tuple[slice, slice]  # of the input channels, of the filter's rows


def split_kernels(graph: Graph, array: ArraySize, feature_depth: int) -> Graph:
    """feature_depth: vectors of `array.c_vec` channels that the feature buffer holds."""
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        parts: list[Part] = []
        if isinstance(node.op, Conv) and node.op.groups == 1:
            parts = _parts(node.op, graph.value(node.inputs["x"]).shape[0], array, feature_depth)
        nodes += _summed(graph, node, parts, constants) if len(parts) > 1 else [node]
    return graph.with_nodes(nodes, constants)


def _parts(op: Conv, channels: int, array: ArraySize, feature_depth: int) -> list[Part]:
    """The fewest slices of channels, then of rows, that fit; one slice of each where nothing does."""
    positions, rows = region(op, (1, 1)), op.kernel[0]
    while positions > feature_depth and rows > 1 and op.input_dilation == (1, 1):
        rows -= 1
        positions = region(replace(op, kernel=(rows, op.kernel[1])), (1, 1))
    if positions > feature_depth:
        return [(slice(0, channels), slice(0, op.kernel[0]))]
    most = feature_depth // positions * array.c_vec
    return [(taken, taps) for taken in _slices(channels, most) for taps in _slices(op.kernel[0], rows)]


def _slices(size: int, most: int) -> Iterator[slice]:
    return (slice(start, min(start + most, size)) for start in range(0, size, most))


def _summed(graph: Graph, node: Node, parts: list[Part], constants: dict[str, Constant]) -> list[Node]:
    """The first part has the bias and what is added or subtracted, the last what the tail does with the sum."""
    op, tail = node.layer, node.layer.tail
    assert isinstance(op, Conv)
    multiplies = "residual" in node.inputs and tail.residual == "multiply"
    size = array_size(op, graph.value(node.inputs["x"]).shape[1:])
    nodes: list[Node] = []
    views: dict[int, str] = {}
    previous: dict[str, str] = {} if multiplies else _only(node, "residual")
    for index, (channels, rows) in enumerate(parts):
        name = f"{node.name}.part{index}"
        if channels.start not in views:
            views[channels.start] = f"{name}.x"
            nodes.append(_view(graph, node.inputs["x"], f"{name}.x", channels))
        constants[f"{name}.weight"] = graph.array(node.inputs["weight"])[:, channels, rows]
        first = _only(node, "bias") if index == 0 else {}
        inputs = {"x": views[channels.start], "weight": f"{name}.weight", **first, **previous}
        residual = tail.residual if index == 0 and not multiplies else "add"
        layer = replace(_rows(op, rows), tail=Tail(residual=residual))
        nodes.append(Node(layer, inputs, Value(name, (node.output.shape[0], *size))))
        previous = {"residual": name}
    if multiplies:
        inputs = {"x": nodes[-1].name, **_only(node, "residual"), **_only(node, "slope")}
        return [*nodes, Node(Pass(tail=tail), inputs, node.output)]
    last = nodes[-1]
    ending = replace(last.layer, tail=replace(tail, residual="add"))
    return [*nodes[:-1], Node(ending, {**last.inputs, **_only(node, "slope")}, node.output)]


def _only(node: Node, role: str) -> dict[str, str]:
    return {role: node.inputs[role]} if role in node.inputs else {}


def _view(graph: Graph, source: str, name: str, channels: slice) -> Node:
    shape = (channels.stop - channels.start, *graph.value(source).shape[1:])
    return Node(Channels(channels.start, channels.stop), {"x": source}, Value(name, shape))


def _rows(op: Conv, rows: slice) -> Conv:
    """The convolution with some of the filter's rows only."""
    top, left, bottom, right = op.pads
    above, below = rows.start * op.dilation[0], (op.kernel[0] - rows.stop) * op.dilation[0]
    return replace(op, kernel=(rows.stop - rows.start, op.kernel[1]), pads=(top - above, left, bottom - below, right))
