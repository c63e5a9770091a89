"""A graph cut into the stages of the accelerator, and what its maps are made of where they are mere addressing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bfpc.ir.graph import Graph
from bfpc.ir.operators import Layer


def stage_count(graph: Graph) -> int:
    """How many stages the accelerator runs: at least one."""
    stages = graph.stages
    return max((stages[node.name] for node in graph.nodes), default=0) + 1


def stage_graph(graph: Graph, stage: int) -> Graph:
    """The nodes of one stage. Its `values` are all that they read from outside, made in earlier stages or not."""
    stages = graph.stages
    nodes = tuple(node for node in graph.nodes if stages[node.name] == stage)
    made = {node.name for node in nodes}
    read = {name for node in nodes for name in node.inputs.values()}
    known = (*graph.values, *(node.output for node in graph.nodes))
    return replace(
        graph,
        values=tuple(value for value in known if value.name in read - made),
        nodes=nodes,
        constants={name: constant for name, constant in graph.constants.items() if name in read},
        inputs=tuple(port for port in graph.inputs if port.value in read),
        outputs=tuple(port for port in graph.outputs if port.value in made),
    )


def stored_parts(graph: Graph, name: str) -> Iterator[str]:
    """The maps, of layers or network inputs, that a value lies in: more than one where it joins several."""
    node = graph.producer(name)
    if node is None or isinstance(node.op, Layer):
        yield name
        return
    for part in node.inputs.values():
        yield from stored_parts(graph, part)


def crossing_layers(graph: Graph) -> frozenset[str]:
    """The layers whose maps are read outside their stage: by the host, by whoever uses the network, or later."""
    stages = graph.stages
    read = [port.value for port in graph.outputs]
    read += [
        name
        for node in graph.nodes
        for name in node.inputs.values()
        if name in stages and stages[name] < stages[node.name]
    ]
    layers = {node.name for node in graph.layers}
    return frozenset(part for name in dict.fromkeys(read) for part in stored_parts(graph, name)) & layers
