"""Makes a sum of convolutions of one whose filter needs more of its map than the feature buffer holds.

    %y = Conv(x, w), 7x7 on 8192 channels
    ->  %y.part0 = Conv(channels 0..4095 of x, w0); %y = Conv(the other channels, w1, residual=%y.part0)

Parts are slices of the input channels; where one vector of channels is still too much, of the filter's rows, too. The
sums of the parts before are stored in between, and so rounded, as all maps are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bfpc.config import Config
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Channels, Conv, Layer, Pass, Tail
from bfpc.ir.shapes import array_size
from bfpc.passes.buffers import ONE_POSITION, layer_fits, narrowest_columns, region, tile_positions

Part = tuple[slice, slice]  # of the input channels, of the filter's rows


def split_kernels(graph: Graph, config: Config) -> Graph:
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        split = isinstance(node.op, Conv) and node.op.groups == 1 and not layer_fits(graph, config, node)
        parts = _parts(graph, config, node) if split else []
        nodes += _summed(graph, node, parts, constants) if len(parts) > 1 else [node]
    return graph.with_nodes(nodes, constants)


def _parts(graph: Graph, config: Config, node: Node) -> list[Part]:
    """The fewest slices of channels, then of rows, that fit; none where nothing does."""
    op, (channels, *size) = node.layer, graph.value(node.inputs["x"]).shape
    window, depth = op.tail.pool or ONE_POSITION, config.architecture.feature_depth
    tile = tile_positions(window, array_size(op, (size[0], size[1])), narrowest_columns(graph, config, node))
    rows, positions = op.kernel[0], region(op, tile)
    while positions > depth and rows > 1 and op.input_dilation == (1, 1):
        rows -= 1
        positions = region(_rows(op, slice(0, rows)), tile)
    if positions > depth:
        return []
    most = depth // positions * config.array_size.c_vec
    return [(taken, taps) for taken in _slices(channels, most) for taps in _slices(op.kernel[0], rows)]


def _slices(size: int, most: int) -> Iterator[slice]:
    return (slice(start, min(start + most, size)) for start in range(0, size, most))


def _summed(graph: Graph, node: Node, parts: list[Part], constants: dict[str, Constant]) -> list[Node]:
    """The first part has the bias and what is added or subtracted, the last what the tail does with the sum."""
    op, tail = node.layer, node.layer.tail
    multiplies = "residual" in node.inputs and tail.residual == "multiply"
    size = array_size(op, graph.value(node.inputs["x"]).shape[1:])
    nodes: list[Node] = []
    views: dict[int, str] = {}
    activation = {**_only(node, "slope"), **_only(node, "table")}
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
        inputs = {"x": nodes[-1].name, **_only(node, "residual"), **activation}
        return [*nodes, Node(Pass(tail=tail), inputs, node.output)]
    last = nodes[-1]
    ending = replace(last.layer, tail=replace(tail, residual="add"))
    return [*nodes[:-1], Node(ending, {**last.inputs, **activation}, node.output)]


def _only(node: Node, role: str) -> dict[str, str]:
    return {role: node.inputs[role]} if role in node.inputs else {}


def _view(graph: Graph, source: str, name: str, channels: slice) -> Node:
    """Some channels of a map, which may be a view itself."""
    producer, start = graph.producer(source), channels.start
    if producer is not None and isinstance(producer.op, Channels):
        source, start = producer.inputs["x"], start + producer.op.start
    count = channels.stop - channels.start
    return Node(Channels(start, start + count), {"x": source}, Value(name, (count, *graph.value(source).shape[1:])))


def _rows(op: Layer, rows: slice) -> Conv:
    """The convolution with some of the filter's rows only."""
    assert isinstance(op, Conv)
    top, left, bottom, right = op.pads
    above, below = rows.start * op.dilation[0], (op.kernel[0] - rows.stop) * op.dilation[0]
    return replace(op, kernel=(rows.stop - rows.start, op.kernel[1]), pads=(top - above, left, bottom - below, right))
