"""A pass that only pads, crops or strides is done by the layers that read it.

%y = Pass(x) {pads=(1, 1, 1, 1)}; %z = Conv(%y, w)                 ->  %z = Conv(x, w) with pads + 1
%y = Pass(x) {stride=(2, 2)}; %z = Conv(%y, w) with one tap         ->  %z = Conv(x, w) {stride=(2, 2)}
"""

from __future__ import annotations

from dataclasses import replace

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Layer, PadMode, Pads, Pass, Tail, window_output_size


def absorb_pass(graph: Graph) -> Graph:
    plain: dict[str, Node] = {}
    nodes = []
    for node in graph.nodes:
        source = plain.get(node.inputs.get("x", ""))
        if source is not None and isinstance(node.op, Layer) and isinstance(source.op, Pass):
            node = _absorbed(graph, source, source.op, node, node.op)
        if _moves_only(node):
            plain[node.name] = node
        nodes.append(node)
    return graph.with_nodes(nodes)


def _moves_only(node: Node) -> bool:
    op = node.op
    return isinstance(op, Pass) and op.tail == Tail() and node.inputs.keys() == {"x"} and op.input_dilation == (1, 1)


def _absorbed(graph: Graph, source: Node, first: Pass, node: Node, second: Layer) -> Node:
    """`node`, reading what the pass `source` reads where one layer can do both."""
    mode = _joint_mode(first, second)
    if mode is None:
        return node
    if first.stride == (1, 1):
        scale = (*second.input_dilation, *second.input_dilation)
        top, left, bottom, right = (q + p * d for q, p, d in zip(second.pads, first.pads, scale, strict=True))
        op: Layer = replace(second, pads=(top, left, bottom, right), pad_mode=mode)
    elif second.kernel == (1, 1) and max(second.pads) <= 0:
        stride, pads = _strided(graph, source, node)
        op = replace(second, stride=stride, pads=pads, pad_mode=mode)
    else:
        return node
    if isinstance(op, Pass) and max(first.pads) > 0:
        op = replace(op, pad_value=first.pad_value)
    return replace(node, op=op, inputs={**node.inputs, "x": source.inputs["x"]})


def _joint_mode(first: Pass, second: Layer) -> PadMode | None:
    """How the pads of both, one around the other, are filled by one layer; None where they can't be."""
    if any(p < 0 < q for p, q in zip(first.pads, second.pads, strict=True)):
        return None  # what was cropped is not what pads
    if max(first.pads) <= 0:
        return second.pad_mode
    if max(second.pads) <= 0:
        fits = isinstance(second, Pass) or first.pad_value == 0
        return first.pad_mode if fits and (first.pad_mode != "reflect" or second.input_dilation == (1, 1)) else None
    zeros = first.pad_mode == second.pad_mode == "zero" and first.pad_value == 0
    return "zero" if zeros and getattr(second, "pad_value", 0) == 0 else None


def _strided(graph: Graph, source: Node, node: Node) -> tuple[tuple[int, int], Pads]:
    """Stride and pads of a one-tap layer that reads what the pass `source` reads; it may crop but not pad."""
    size = graph.value(source.inputs["x"]).shape[1:]
    positions = window_output_size(source.output.shape[1:], (1, 1), node.layer.stride, node.layer.pads)
    stride = (source.layer.stride[0] * node.layer.stride[0], source.layer.stride[1] * node.layer.stride[1])
    top, left = (source.layer.pads[axis] + node.layer.pads[axis] * source.layer.stride[axis] for axis in (0, 1))
    bottom, right = ((positions[axis] - 1) * stride[axis] + 1 - size[axis] - (top, left)[axis] for axis in (0, 1))
    return stride, (top, left, bottom, right)
