"""Makes every concatenation an addressing of what its producers write.

A producer writes straight into the joined map where it starts at a channel group and is used in one concatenation only.
Elsewhere

    %y = Concat(a, b), a shared or no layer's output
    ->  %y.x0 = Pass(a); %y = Concat(%y.x0, b)

    %y = Concat(a, b), b off the channel groups
    ->  %y.x0 = Conv(a, ones in place); %y = Conv(b, ones in place, residual=%y.x0)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Concat, Conv, Layer, Pass
from bfpc.passes.lower_layers import selection


def place_concats(graph: Graph, group: int) -> Graph:
    """group: channels of a group of the feature memory."""
    constants: dict[str, Constant] = dict(graph.constants)
    placed: set[str] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node.op, Concat):
            nodes.append(node)
        elif any(graph.value(name).shape[0] % group for name in list(node.inputs.values())[:-1]):
            nodes += _summed(graph, node, constants)
        else:
            nodes += _copied(graph, node, placed)
    return graph.with_nodes(nodes, constants)


def _copied(graph: Graph, node: Node, placed: set[str]) -> list[Node]:
    """The concatenation with copies of those inputs that cannot be written in place."""
    copies, inputs = [], {}
    for role, name in node.inputs.items():
        producer = graph.producer(name)
        if producer is None or not isinstance(producer.op, Layer) or name in placed:
            copy = Node(Pass(), {"x": name}, Value(f"{node.name}.{role}", graph.value(name).shape))
            copies.append(copy)
            name = copy.name
        placed.add(name)
        inputs[role] = name
    return [*copies, replace(node, inputs=inputs)]


def _summed(graph: Graph, node: Node, constants: dict[str, Constant]) -> list[Node]:
    """The concatenation as a chain of one-tap convolutions, each adding its input's channels."""
    nodes: list[Node] = []
    start, outputs = 0, node.output.shape[0]
    for role, name in node.inputs.items():
        channels = graph.value(name).shape[0]
        weight = f"{node.name}.{role}.selection"
        constants[weight] = selection(np.arange(outputs) - start, channels)
        inputs = {"x": name, "weight": weight} | ({"residual": nodes[-1].name} if nodes else {})
        nodes.append(Node(Conv((1, 1)), inputs, replace(node.output, name=f"{node.name}.{role}")))
        start += channels
    nodes[-1] = replace(nodes[-1], output=node.output)
    return nodes
