"""Slices the channels of a layer that works on each by itself, where the buffers cannot hold all of them.

    %y = Depthwise(x, w), 3x3 on 8192 channels
    ->  %y.x0 = Depthwise(channels 0..4095 of x, w0); %y.x1 = Depthwise(the other channels, w1)
        %y = Concat(%y.x0, %y.x1)

The slices are whole vectors of channels, which also fill whole channel groups.
"""

from __future__ import annotations

from bfpc.config import Config
from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import Concat, Depthwise, Pass
from bfpc.passes.buffers import most_channels
from bfpc.passes.layer_parts import layer_part, slices


def split_channels(graph: Graph, config: Config) -> Graph:
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        channels = node.output.shape[0]
        most = _most(graph, config, node) if isinstance(node.op, Depthwise | Pass) else channels
        nodes += _sliced(graph, node, most, constants) if 0 < most < channels else [node]
    return graph.with_nodes(nodes, constants)


def _most(graph: Graph, config: Config, node: Node) -> int:
    _, height, width = graph.value(node.inputs["x"]).shape
    return most_channels(graph, config, node, node.layer, (height, width))


def _sliced(graph: Graph, node: Node, most: int, constants: dict[str, Constant]) -> list[Node]:
    nodes: list[Node] = []
    parts: dict[str, str] = {}
    for part in slices(node.output.shape[0], most):
        nodes += layer_part(graph, node, f"{node.name}.x{len(parts)}", (part, part), constants)
        parts[f"x{len(parts)}"] = nodes[-1].name
    return [*nodes, Node(Concat(), parts, node.output)]
