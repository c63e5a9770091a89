"""Parts of layers: some channels of their output, made of views of what they read and slices of their constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Channels

PER_CHANNEL = ("weight", "bias", "slope")  # roles of constants whose first axis is the output's channels


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


def layer_part(
    graph: Graph, node: Node, name: str, channels: tuple[slice, slice], constants: dict[str, Constant]
) -> list[Node]:
    """The views that a part of a layer reads, and the part, called `name`, whose constants join `constants`.

    channels: those of the layer's map that the part reads, and those of its output that it makes.
    """
    taken = dict(zip(("x", "residual"), channels, strict=True))
    views = {
        role: view(graph, node.inputs[role], f"{name}.{role}", part)
        for role, part in taken.items()
        if role in node.inputs
    }
    made = taken["residual"]
    arrays = {role: graph.array(node.inputs[role])[made] for role in PER_CHANNEL if role in node.inputs}
    constants.update((f"{name}.{role}", array) for role, array in arrays.items())
    inputs = {**node.inputs, **{role: f"{name}.{role}" for role in (*views, *arrays)}}
    output = Value(name, (made.stop - made.start, *node.output.shape[1:]))
    return [*views.values(), replace(node, inputs=inputs, output=output)]
