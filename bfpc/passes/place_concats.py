"""Makes every concatenation an addressing of what its producers write.

A layer writes straight into the joined map, and a joined map may itself be a part of a larger one. Each lies in one
place only; elsewhere

    %y = Concat(a, b), a joined elsewhere too, a view of channels, or the network's input
    ->  %y.x0 = Pass(a); %y = Concat(%y.x0, b)

    %y = Concat(a, b); %z = Concat(a, b, c)         ->  %y = Concat(a, b); %z = Concat(%y, c)
"""

from __future__ import annotations

from dataclasses import replace

from bfpc.ir.graph import Graph, Node, Value
from bfpc.ir.operators import Channels, Concat, Pass


def place_concats(graph: Graph, group: int) -> Graph:
    """group: channels of a group of the feature memory, at which every part begins."""
    placed: set[str] = set()
    joined: dict[tuple[str, ...], Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            parts = _shared(tuple(node.inputs.values()), joined, placed, group)
            joined[tuple(node.inputs.values())] = node
            copies, node = _placed(graph, node, parts, placed)
            nodes += copies
        nodes.append(node)
    return graph.with_nodes(nodes)


def _shared(
    parts: tuple[str, ...], joined: dict[tuple[str, ...], Node], placed: set[str], group: int
) -> tuple[str, ...]:
    """The parts, with the longest run of first ones that is joined already as one part."""
    for count in range(len(parts) - 1, 1, -1):
        earlier = joined.get(parts[:count])
        if earlier is not None and earlier.name not in placed and earlier.output.shape[0] % group == 0:
            return (earlier.name, *parts[count:])
    return parts


def _placed(graph: Graph, node: Node, parts: tuple[str, ...], placed: set[str]) -> tuple[list[Node], Node]:
    """Copies of those parts that cannot be written in place, and the concatenation with them."""
    copies, inputs = [], {}
    for index, name in enumerate(parts):
        producer = graph.producer(name)
        if producer is None or isinstance(producer.op, Channels) or name in placed:
            copy = Node(Pass(), {"x": name}, Value(f"{node.name}.x{index}", graph.value(name).shape))
            copies.append(copy)
            name = copy.name
        placed.add(name)
        inputs[f"x{index}"] = name
    return copies, replace(node, inputs=inputs)
