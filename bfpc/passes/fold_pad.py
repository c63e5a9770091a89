"""Zeros around a map become the pads of the convolution that reads it.

%y = Pad(x, 1 around); %z = Conv(%y, w)     ->  %z = Conv(x, w) with pads + 1
"""

from __future__ import annotations

from dataclasses import replace

from bfpc.ir.graph import Graph
from bfpc.ir.operators import Conv, Pad, Pads


def fold_pad(graph: Graph) -> Graph:
    pads = {node.name: node for node in graph.nodes if isinstance(node.op, Pad) and node.op.channels == (0, 0)}
    nodes = []
    for node in graph.nodes:
        source = pads.get(node.inputs.get("x", ""))
        if source is not None and isinstance(node.op, Conv) and isinstance(source.op, Pad):
            op = replace(node.op, pads=_sum(node.op.pads, source.op.pads))
            node = replace(node, op=op, inputs={**node.inputs, "x": source.inputs["x"]})
        nodes.append(node)
    return graph.with_nodes(nodes)


def _sum(a: Pads, b: Pads) -> Pads:
    top, left, bottom, right = (x + y for x, y in zip(a, b, strict=True))
    return top, left, bottom, right
