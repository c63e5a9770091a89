"""Makes a sum of convolutions of one whose filter needs more of its map than the feature buffer holds.

    %y = Conv(x, w), 7x7 on 8192 channels
    ->  %y.part0 = Conv(channels 0..4095 of x, w0); %y = Conv(the other channels, w1, residual=%y.part0)

    %y = Depthwise(x, w), 28x28 with stride 15
    ->  %y.part0 = Depthwise(x, rows 0..3 of w); ...; %y = Depthwise(x, rows 24..27 of w, residual=%y.part5)

Parts are slices of a dense filter's channels; where one vector of channels is still too much, of the filter's rows,
too, and where one row is, of its columns. The sums of the parts before are stored in between, and so rounded, as all
maps are. (`split_channels` slices the channels of a depthwise layer, which needs no sum.)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from bfpc.config import Config
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Conv, Depthwise, Layer, Pair, Pass, Tail
from bfpc.ir.shapes import array_size
from bfpc.passes.buffers import layer_fits, region, smallest_tile
from bfpc.passes.layer_parts import slices, view

Part = tuple[slice, slice, slice]  # of the filter's channels, rows and columns


def split_kernels(graph: Graph, config: Config) -> Graph:
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        split = isinstance(node.op, Conv | Depthwise) and not layer_fits(graph, config, node)
        parts = _parts(graph, config, node) if split else []
        nodes += _summed(graph, node, parts, constants) if len(parts) > 1 else [node]
    return graph.with_nodes(nodes, constants)


def _parts(graph: Graph, config: Config, node: Node) -> list[Part]:
    """The fewest slices of rows and columns with which a vector fits, then of channels; none where nothing does."""
    op, (channels, height, width) = node.layer, graph.value(node.inputs["x"]).shape
    tile, depth = smallest_tile(graph, config, node, op, (height, width)), config.architecture.feature_depth
    rows, columns = op.kernel
    while _positions(op, (rows, columns), tile) > depth and rows > 1 and op.input_dilation[0] == 1:
        rows -= 1
    while _positions(op, (rows, columns), tile) > depth and columns > 1 and op.input_dilation[1] == 1:
        columns -= 1
    vectors = depth // _positions(op, (rows, columns), tile)
    if vectors == 0:
        return []
    most = vectors * config.array_size.c_vec if isinstance(op, Conv) else channels
    return list(product(slices(channels, most), slices(op.kernel[0], rows), slices(op.kernel[1], columns)))


def _positions(op: Layer, taps: Pair, tile: Pair) -> int:
    """Positions of the map that a tile needs with so many rows and columns of the filter only."""
    return region(_filter(op, slice(0, taps[0]), slice(0, taps[1])), tile)


def _summed(graph: Graph, node: Node, parts: list[Part], constants: dict[str, Constant]) -> list[Node]:
    """The first part has the bias and what is added or subtracted, the last what the tail does with the sum."""
    op, tail = node.layer, node.layer.tail
    multiplies = "residual" in node.inputs and tail.residual == "multiply"
    channels, height, width = graph.value(node.inputs["x"]).shape
    size = array_size(op, (height, width))
    nodes: list[Node] = []
    views: dict[int, str] = {}
    activation = {**_only(node, "slope"), **_only(node, "table")}
    previous: dict[str, str] = {} if multiplies else _only(node, "residual")
    for index, (taken, rows, columns) in enumerate(parts):
        name = f"{node.name}.part{index}"
        if taken == slice(0, channels):
            views[taken.start] = node.inputs["x"]
        elif taken.start not in views:
            views[taken.start] = f"{name}.x"
            nodes.append(view(graph, node.inputs["x"], f"{name}.x", taken))
        constants[f"{name}.weight"] = graph.array(node.inputs["weight"])[:, taken, rows, columns]
        first = _only(node, "bias") if index == 0 else {}
        inputs = {"x": views[taken.start], "weight": f"{name}.weight", **first, **previous}
        residual = tail.residual if index == 0 and not multiplies else "add"
        layer = replace(_filter(op, rows, columns), tail=Tail(residual=residual))
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


def _filter(op: Layer, rows: slice, columns: slice) -> Conv | Depthwise:
    """The convolution with some of the filter's rows and columns only."""
    assert isinstance(op, Conv | Depthwise)
    top, left, bottom, right = op.pads
    above, below = rows.start * op.dilation[0], (op.kernel[0] - rows.stop) * op.dilation[0]
    before, after = columns.start * op.dilation[1], (op.kernel[1] - columns.stop) * op.dilation[1]
    kernel = (rows.stop - rows.start, columns.stop - columns.start)
    return replace(op, kernel=kernel, pads=(top - above, left - before, bottom - below, right - after))
