"""Slices the channels of a layer that works on each by itself, where the buffers cannot hold all of them.

    %y = Depthwise(x, w), 3x3 on 8192 channels
    ->  %y.x0 = Depthwise(channels 0..4095 of x, w0); %y.x1 = Depthwise(the other channels, w1)
        %y = Concat(%y.x0, %y.x1)

The slices are whole vectors of channels, which also fill whole channel groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bfpc.config import Config
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Channels, Concat, Depthwise, Pass
from bfpc.passes.buffers import most_channels

PER_CHANNEL = ("weight", "bias", "slope")


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
        name = f"{node.name}.x{len(parts)}"
        views = {
            role: view(graph, node.inputs[role], f"{name}.{role}", part)
            for role in ("x", "residual")
            if role in node.inputs
        }
        arrays = {role: graph.array(node.inputs[role])[part] for role in PER_CHANNEL if role in node.inputs}
        constants.update((f"{name}.{role}", array) for role, array in arrays.items())
        inputs = {**node.inputs, **{role: f"{name}.{role}" for role in (*views, *arrays)}}
        output = Value(name, (part.stop - part.start, *node.output.shape[1:]))
        nodes += [*views.values(), replace(node, inputs=inputs, output=output)]
        parts[f"x{len(parts)}"] = name
    return [*nodes, Node(Concat(), parts, node.output)]


def slices(size: int, most: int) -> Iterator[slice]:
    """`size` in slices of `most`, the last of what is left."""
    return (slice(start, min(start + most, size)) for start in range(0, size, most))


def view(graph: Graph, source: str, name: str, channels: slice) -> Node:
    """Some channels of a map, which may be a view itself."""
    producer, start = graph.producer(source), channels.start
    if producer is not None and isinstance(producer.op, Channels):
        source, start = producer.inputs["x"], start + producer.op.start
    count = channels.stop - channels.start
    return Node(Channels(start, start + count), {"x": source}, Value(name, (count, *graph.value(source).shape[1:])))
