"""Where every feature map lies in the feature memory.

A map is live from the layer that writes it to the last that reads it; maps that are never live together may share
words. Network inputs lie at the start, in order. The inputs of a Concat are written straight into their groups of the
joined map, so that joining costs nothing. Network outputs stay to the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bfpc.backend.feature_memory import FeatureLayout
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Concat


@dataclass(frozen=True)
class MemoryPlan:
    """Addresses of all values, the size of the memory, and of the inputs at its start, in 64-bit words."""

    addresses: Mapping[str, int]
    words: int
    input_words: int


@dataclass(frozen=True)
class Place:
    """A value inside a buffer: the buffer is the value itself, or the outermost joined map that holds it."""

    buffer: str
    offset: int


@dataclass(frozen=True)
class Buffer:
    """Words that are needed from node `first` to node `last` of the graph."""

    name: str
    words: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan_memory(graph: Graph, group: int) -> MemoryPlan:
    """Places the maps of a quantized graph that are stored in groups of `group` channels.

    Raises CapacityError where the inputs of a Concat don't fill whole groups.
    """
    places = _places(graph, group)
    buffers = _buffers(graph, places, group)
    inputs = {value.name for value in graph.values}
    starts: dict[str, int] = {}
    input_words = 0
    for value in graph.values:
        starts[value.name] = input_words
        input_words += buffers[value.name].words
    placed = [buffers[name] for name in starts]
    for buffer in sorted(buffers.values(), key=lambda buffer: -buffer.words):
        if buffer.name not in inputs:
            starts[buffer.name] = _best_gap(buffer, placed, starts)
            placed.append(buffer)
    words = max(starts[buffer.name] + buffer.words for buffer in placed)
    return MemoryPlan({name: starts[p.buffer] + p.offset for name, p in places.items()}, words, input_words)


def feature_layout(graph: Graph, name: str, group: int) -> FeatureLayout:
    """The layout of a map of a quantized graph."""
    return FeatureLayout(graph.value(name).shape, graph.format(name), group)


def _places(graph: Graph, group: int) -> dict[str, Place]:
    """Outer joined maps are seen before the inner ones, so each value finds its outermost buffer."""
    places: dict[str, Place] = {}
    for node in reversed(graph.nodes):
        place = places.setdefault(node.name, Place(node.name, 0))
        if isinstance(node.op, Concat):
            for name, offset in _concat_offsets(graph, node, group).items():
                assert name not in places, f"{name} is joined twice: a Pass should copy it"
                places[name] = Place(place.buffer, place.offset + offset)
    for value in graph.values:
        assert value.name not in places, f"the network input {value.name} is joined: a Pass should copy it"
        places[value.name] = Place(value.name, 0)
    return places


def _concat_offsets(graph: Graph, node: Node, group: int) -> dict[str, int]:
    """Words from the start of a joined map to each of its inputs."""
    joined = feature_layout(graph, node.name, group)
    offsets, channels = {}, 0
    for name in node.inputs.values():
        assert graph.format(name) == joined.format, f"{name} is joined into {node.name} but has another format"
        if channels % group:
            raise CapacityError(
                f"the inputs of the Concat have {_channel_list(graph, node)} channels, not whole groups of {group}",
                where=node.name,
                fix=f"set architecture.k_vec to a power of two that divides all but the last: {_divisor(graph, node)}",
            )
        assert name not in offsets, f"{name} is joined with itself: a Pass should copy it"
        offsets[name] = channels // group * joined.group_words(0)
        channels += graph.value(name).shape[0]
    return offsets


def _channel_list(graph: Graph, node: Node) -> str:
    return ", ".join(str(graph.value(name).shape[0]) for name in node.inputs.values())


def _divisor(graph: Graph, node: Node) -> int:
    """The largest power of two that divides the channels of all inputs but the last."""
    combined = 0
    for name in list(node.inputs.values())[:-1]:
        combined |= graph.value(name).shape[0]
    return combined & -combined


def _buffers(graph: Graph, places: Mapping[str, Place], group: int) -> dict[str, Buffer]:
    end = len(graph.nodes)
    born = {value.name: -1 for value in graph.values} | {node.name: i for i, node in enumerate(graph.nodes)}
    dies = dict(born)
    for index, node in enumerate(graph.nodes):
        dies |= {name: index for name in node.inputs.values() if name in dies}
    dies |= dict.fromkeys(graph.output_names, end)
    lives: dict[str, tuple[int, int]] = {}
    for name, place in places.items():
        first, last = lives.get(place.buffer, (end, -1))
        lives[place.buffer] = min(first, born[name]), max(last, dies[name])
    return {name: Buffer(name, feature_layout(graph, name, group).words, *life) for name, life in lives.items()}


def _best_gap(buffer: Buffer, placed: list[Buffer], starts: Mapping[str, int]) -> int:
    """The start of the smallest gap between live buffers that holds the new one; else the end of them all."""
    taken = sorted((starts[other.name], starts[other.name] + other.words) for other in placed if other.overlaps(buffer))
    gaps, end = [], 0
    for start, stop in taken:
        if start - end >= buffer.words:
            gaps.append((start - end, end))
        end = max(end, stop)
    return min(gaps)[1] if gaps else end
