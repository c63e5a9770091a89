"""A pass that only pads, crops or strides is done by the one-tap layers that read it.

%y = Pass(x) {stride=(2, 2)}; %z = Conv(%y, w) with one tap    ->  %z = Conv(x, w) {stride=(2, 2)}
"""

from __future__ import annotations

from dataclasses import replace

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Layer, Pass, Tail, window_output_size


def absorb_pass(graph: Graph) -> Graph:
    plain: dict[str, Node] = {}
    nodes = []
    for node in graph.nodes:
        source = plain.get(node.inputs.get("x", ""))
        if source is not None and isinstance(node.op, Layer) and node.op.kernel == (1, 1) and max(node.op.pads) <= 0:
            node = _composed(graph, source, node)
        if isinstance(node.op, Pass) and node.op.tail == Tail() and node.inputs.keys() == {"x"}:
            plain[node.name] = node
        nodes.append(node)
    return graph.with_nodes(nodes)


def _composed(graph: Graph, source: Node, node: Node) -> Node:
    """A one-tap layer that reads what the pass `source` reads; it may crop but not pad."""
    size = graph.value(source.inputs["x"]).shape[1:]
    positions = window_output_size(source.output.shape[1:], (1, 1), node.layer.stride, node.layer.pads)
    stride = (source.layer.stride[0] * node.layer.stride[0], source.layer.stride[1] * node.layer.stride[1])
    top, left = (source.layer.pads[axis] + node.layer.pads[axis] * source.layer.stride[axis] for axis in (0, 1))
    bottom, right = ((positions[axis] - 1) * stride[axis] + 1 - size[axis] - (top, left)[axis] for axis in (0, 1))
    op = replace(node.layer, stride=stride, pads=(top, left, bottom, right))
    return replace(node, op=op, inputs={**node.inputs, "x": source.inputs["x"]})
