"""Where every feature map lies in the feature memory.

A map is live from the layer that writes it to the last that reads it; maps that are never live together may share
words. One that streams to the next layer has none. Network inputs lie one behind the other and are there from the
beginning. The inputs of a Concat are written straight into their groups of the joined map, so that joining costs
nothing; until a part is written, its words are free for other maps. Channels of a map are words of it. Network outputs
stay to the end.

The memory's first words lie on chip. Which maps stay there, at any time no more than it holds, is an integer program:
those whose writing and reading moves most words. Network inputs and outputs lie in DRAM, where the host finds them.

    %a = Conv(x=%x)      : 64x8x8        a: words 0..      live from its layer on
    %b = Conv(x=%a)      : 64x8x8        b: right behind a
    %c = Concat(%a, %b)  : 128x8x8       c: a's words and b's, moved by nobody
    %d = Channels(%c) {start=64, stop=128}   d: b's words
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.optimize import LinearConstraint, milp

from bfpc.backend.feature_memory import FeatureLayout
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat

INPUTS = ""  # the buffer of the network's inputs
ROOMS = 16  # steps in which less of the memory on chip is filled, until all that is chosen finds its place
REPAIRS = 40  # times that the buffers which reach highest are placed before the others


@dataclass(frozen=True)
class MemoryPlan:
    """Addresses of all values, the size of the memory, and where the inputs lie in it, in 64-bit words.

    live_words: the largest sum of maps that are live at the same time, which no plan can go below. maps: network
    inputs, and what layers write, in order: their words, and when these are needed.
    """

    addresses: Mapping[str, int]
    words: int
    input_words: int
    input_address: int
    live_words: int
    maps: Mapping[str, Piece]


@dataclass(frozen=True)
class Place:
    """A value inside a buffer: the buffer is a value itself, or the outermost joined map that holds it."""

    buffer: str
    offset: int
    words: int

    def overlaps(self, other: Place) -> bool:
        return self.offset < other.offset + other.words and other.offset < self.offset + self.words


@dataclass(frozen=True)
class Piece:
    """Words from `start` to before `stop`, needed from layer `first` to layer `last`, by their indices.

    Before the first layer, at -1, the host writes; after the last, at the number of layers, it reads.
    """

    start: int
    stop: int
    first: int
    last: int

    def moved(self, start: int) -> Piece:
        return Piece(self.start + start, self.stop + start, self.first, self.last)

    def meets(self, other: Piece) -> bool:
        return self.first <= other.last and other.first <= self.last

    def overlaps(self, other: Piece) -> bool:
        return self.meets(other) and self.start < other.stop and other.start < self.stop


@dataclass(frozen=True)
class Buffer:
    """Pieces that keep their places beside each other: a map, the parts of a joined one, or the network's inputs."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def words(self) -> int:
        return max(piece.stop for piece in self.pieces)

    @property
    def life(self) -> tuple[int, int]:
        return min(piece.first for piece in self.pieces), max(piece.last for piece in self.pieces)


Starts = dict[str, int]
# Orders in which buffers are placed, each in the lowest words that are free; the smallest plan is kept.
ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda buffer: (-buffer.words,),
    lambda buffer: (-sum(piece.stop - piece.start for piece in buffer.pieces), *buffer.life),
    lambda buffer: (buffer.life[0] - buffer.life[1], -buffer.words),
    lambda buffer: (buffer.words * (buffer.life[0] - buffer.life[1] - 1),),
    lambda buffer: (buffer.life[0], -buffer.words),
    lambda buffer: (-buffer.life[1], -buffer.words),
)


def plan_memory(graph: Graph, group: int, on_chip_words: int = 0) -> MemoryPlan:
    """Places the maps of a quantized graph that are stored in groups of `group` channels.

    on_chip_words: how many of the first words lie on chip.
    Raises CapacityError where the inputs of a Concat don't fill whole groups.
    """
    places = _places(graph, group)
    lives = _lives(graph, places)
    buffers = _buffers(places, lives)
    live_words = _live_words(piece for buffer in buffers for piece in buffer.pieces)
    starts = _place_on_chip(buffers, _traffic(graph, places), on_chip_words)
    others = [buffer for buffer in buffers if buffer.name not in starts]
    in_dram = _place(others, _live_words(piece for buffer in others for piece in buffer.pieces))
    starts |= {name: start + on_chip_words for name, start in in_dram.items()}
    addresses = {name: starts[place.buffer] + place.offset for name, place in places.items() if place.buffer in starts}
    input_words = sum(places[value.name].words for value in graph.values)
    maps = {name: _piece(places[name], *life).moved(starts[places[name].buffer]) for name, life in lives.items()}
    return MemoryPlan(addresses, _size(buffers, starts), input_words, starts[INPUTS], live_words, maps)


def feature_layout(graph: Graph, name: str, group: int) -> FeatureLayout:
    """The layout of a map of a quantized graph."""
    return FeatureLayout(graph.value(name).shape, graph.format(name), group)


# -- Where values lie inside buffers ----------------------------------------------------------------------------------


def _places(graph: Graph, group: int) -> dict[str, Place]:
    """Outer joined maps are seen before the inner ones, so each value finds its outermost buffer; then their views."""
    names = (*(value.name for value in graph.values), *(node.name for node in graph.nodes))
    words = {name: feature_layout(graph, name, group).words for name in names}
    places: dict[str, Place] = {}
    for node in reversed(graph.nodes):
        if isinstance(node.op, Channels):
            continue
        place = places.setdefault(node.name, Place(node.name, 0, words[node.name]))
        if isinstance(node.op, Concat):
            for name, offset in _concat_offsets(graph, node, group).items():
                assert name not in places, f"{name} is joined twice: a Pass should copy it"
                places[name] = Place(place.buffer, place.offset + offset, words[name])
    offset = 0
    for value in graph.values:
        assert value.name not in places, f"the network input {value.name} is joined: a Pass should copy it"
        places[value.name] = Place(INPUTS, offset, words[value.name])
        offset += words[value.name]
    for node in graph.nodes:
        if isinstance(node.op, Channels):
            assert node.name not in places, f"the view {node.name} is joined: a Pass should copy it"
            source = places[node.inputs["x"]]
            offset = _view_offset(graph, node, node.op, group)
            places[node.name] = Place(source.buffer, source.offset + offset, words[node.name])
    return places


def _view_offset(graph: Graph, node: Node, op: Channels, group: int) -> int:
    """Words from the start of a map to those of a view of its channels."""
    source = feature_layout(graph, node.inputs["x"], group)
    assert graph.format(node.name) == source.format, f"{node.name} views {node.inputs['x']} but has another format"
    ends_whole = op.stop % group == 0 or op.stop == source.shape[0]
    assert op.start % group == 0, f"{node.name} does not begin at a group of {group} channels: a layer should select it"
    assert ends_whole, f"{node.name} does not end with a group of {group} channels: a layer should select it"
    return op.start // group * source.group_words(0)


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


# -- When they are needed ---------------------------------------------------------------------------------------------


def _lives(graph: Graph, places: Mapping[str, Place]) -> dict[str, tuple[int, int]]:
    """When what layers write, and network inputs, are needed."""
    born = {value.name: -1 for value in graph.values}
    born |= {run[-1].name: index for index, run in _numbered_runs(graph)}
    written: dict[str, list[str]] = {}
    for name in born:
        written.setdefault(places[name].buffer, []).append(name)
    dies = dict(born)
    for index, name in _reads(graph):
        for part in written[places[name].buffer]:
            if places[part].overlaps(places[name]):
                dies[part] = max(dies[part], index)
    return {name: (born[name], dies[name]) for name in born}


def _buffers(places: Mapping[str, Place], lives: Mapping[str, tuple[int, int]]) -> list[Buffer]:
    """The buffers; their pieces are what layers write, and network inputs."""
    pieces: dict[str, list[Piece]] = {}
    for name, (first, last) in lives.items():
        pieces.setdefault(places[name].buffer, []).append(_piece(places[name], first, last))
    return [Buffer(name, tuple(parts)) for name, parts in pieces.items()]


def _piece(place: Place, first: int, last: int) -> Piece:
    return Piece(place.offset, place.offset + place.words, first, last)


def _reads(graph: Graph) -> Iterable[tuple[int, str]]:
    """Every layer that reads a map's words, by its index, with the map; the host reads the outputs after the last."""
    end = 0
    for index, run in _numbered_runs(graph):
        streamed = {node.name for node in run[:-1]}
        names = (name for node in run for name in node.inputs.values() if graph.is_value(name))
        yield from ((index, name) for name in names if name not in streamed)
        end = index + 1
    yield from ((end, name) for name in graph.output_names)


def _numbered_runs(graph: Graph) -> Iterator[tuple[int, tuple[Node, ...]]]:
    """The layers that run together, with the index of the last of them."""
    ends = accumulate(len(run) for run in graph.runs)
    return ((end - 1, run) for end, run in zip(ends, graph.runs, strict=True))


def _live_words(pieces: Iterable[Piece]) -> int:
    """The largest sum of words that are needed at the same time."""
    changes: dict[int, int] = {}
    for piece in pieces:
        changes[piece.first] = changes.get(piece.first, 0) + piece.stop - piece.start
        changes[piece.last + 1] = changes.get(piece.last + 1, 0) - (piece.stop - piece.start)
    return max(accumulate(changes[index] for index in sorted(changes)))


def _traffic(graph: Graph, places: Mapping[str, Place]) -> dict[str, int]:
    """The words of each buffer that layers write and read; none of those that the host reaches."""
    traffic: dict[str, int] = {}
    written = (run[-1].name for run in graph.runs)
    for name in (*written, *(name for _, name in _reads(graph))):
        traffic[places[name].buffer] = traffic.get(places[name].buffer, 0) + places[name].words
    for name in (*(value.name for value in graph.values), *graph.output_names):
        traffic[places[name].buffer] = 0
    return traffic


# -- Where buffers lie in memory --------------------------------------------------------------------------------------


def _place(buffers: Sequence[Buffer], goal: int) -> Starts:
    """The start of every buffer in the smallest plan found; looks no further than `goal` words."""
    best: Starts = {}
    for order in ORDERS:
        sequence = sorted(buffers, key=order)
        for _ in range(REPAIRS):
            starts = _place_in_order(sequence)
            if not best or _size(buffers, starts) < _size(buffers, best):
                best = starts
            if _size(buffers, best) <= goal:
                return best
            sequence = _highest_first(sequence, starts)
    return best


def _place_on_chip(buffers: Sequence[Buffer], traffic: Mapping[str, int], words: int) -> Starts:
    """The starts of the buffers that move most words and fit the first `words` words together."""
    room = words
    while room:
        chosen = _most_traffic(buffers, traffic, room)
        starts = _place(chosen, room)
        if _size(chosen, starts) <= words:
            return starts
        room -= -(-words // ROOMS)  # gaps between them take the rest
    return {}


def _most_traffic(buffers: Sequence[Buffer], traffic: Mapping[str, int], words: int) -> list[Buffer]:
    """Of the buffers that are live at the same time no more than `words` words, so that most traffic is theirs."""
    moved = np.array([traffic[buffer.name] for buffer in buffers])
    times = sorted({piece.first for buffer in buffers for piece in buffer.pieces})
    live = np.array(
        [[buffer.words * (buffer.life[0] <= time <= buffer.life[1]) for buffer in buffers] for time in times]
    )
    found = milp(-moved, constraints=LinearConstraint(live, ub=words), integrality=1, bounds=(0, np.minimum(moved, 1)))
    return [buffer for buffer, share in zip(buffers, found.x, strict=True) if share > 0.5]


def _highest_first(sequence: Sequence[Buffer], starts: Starts) -> list[Buffer]:
    """The same sequence, but what reaches to the end of the memory comes before the others."""
    size = _size(sequence, starts)
    return sorted(sequence, key=lambda buffer: starts[buffer.name] + buffer.words < size)


def _place_in_order(sequence: Iterable[Buffer]) -> Starts:
    starts: Starts = {}
    placed: list[Piece] = []
    for buffer in sequence:
        starts[buffer.name] = _lowest_start(buffer, placed)
        placed += (piece.moved(starts[buffer.name]) for piece in buffer.pieces)
    return starts


def _lowest_start(buffer: Buffer, placed: Iterable[Piece]) -> int:
    """The lowest start at which no piece of the buffer overlaps one that is needed at the same time."""
    barred = sorted(
        (other.start - piece.stop, other.stop - piece.start)  # starts strictly between these overlap
        for other in placed
        for piece in buffer.pieces
        if piece.meets(other)
    )
    start = 0
    for low, high in barred:
        if low >= start:
            break
        start = max(start, high)
    return start


def _size(buffers: Iterable[Buffer], starts: Starts) -> int:
    return max((starts[buffer.name] + buffer.words for buffer in buffers), default=0)
