"""The network as a column of boxes, in the order in which they run, with the ways of the maps between them.

A map that is read by the next box goes straight down; one that skips boxes goes around them, in a lane on the left.

    input        0
    conv1        1
    conv2      +-1    lane 1: conv1's output, read by add
    add        +-3
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bfpc.ir.graph import Graph
from bfpc.ir.operators import Channels, Layer
from bfpc.ir.partition import HostSegment
from bfpc.ir.stages import stage_count

Kind = Literal["input", "accelerator", "joined maps", "host", "output"]


@dataclass(frozen=True)
class Box:
    """kind: where it runs. layer: the name of the accelerator's layer that it is, or nothing."""

    name: str
    kind: Kind
    detail: str
    layer: str = ""


@dataclass(frozen=True)
class Way:
    """A map from one box to another, by their indices. lane: 0 goes straight down, others lie further left."""

    start: int
    end: int
    lane: int


@dataclass(frozen=True)
class NetworkView:
    boxes: tuple[Box, ...]
    ways: tuple[Way, ...]


def view_network(graph: Graph, host: Sequence[HostSegment], outputs: Sequence[str]) -> NetworkView:
    """The boxes of a quantized network and its host segments, and the ways between them."""
    boxes: list[tuple[Box, tuple[str, ...]]] = []  # with the tensors that each reads
    makers: dict[str, int] = {}  # of tensors: the box that makes each
    for box, reads, makes in _boxes(graph, host, outputs):
        makers |= dict.fromkeys(makes, len(boxes))
        boxes.append((box, reads))
    pairs = {(makers[name], end) for end, (_, reads) in enumerate(boxes) for name in reads if name in makers}
    return NetworkView(tuple(box for box, _ in boxes), tuple(_in_lanes(pairs)))


def _boxes(
    graph: Graph, host: Sequence[HostSegment], outputs: Sequence[str]
) -> Iterator[tuple[Box, tuple[str, ...], tuple[str, ...]]]:
    """Each box with the tensors that it reads and those that it makes, maps of the graph under their values' names."""
    made = {name for segment in host for name in segment.outputs}
    values = {port.name: port.value for port in graph.inputs}
    known = {port.name for port in graph.inputs} | {name for segment in host for name in segment.inputs}
    for name in sorted(known - made - {port.name for port in graph.outputs}):
        yield Box(name, "input", "input of the network"), (), (name, *([values[name]] if name in values else []))
    leaves = {port.name: port.value for port in graph.outputs}
    for stage in range(stage_count(graph) + 1):
        for index, segment in enumerate(host):
            if segment.stage == stage:
                operators = ", ".join(dict.fromkeys(node.operator for node in segment.nodes))
                reads = tuple(leaves.get(name, name) for name in segment.inputs)
                makes = (*segment.outputs, *(values[name] for name in segment.outputs if name in values))
                yield Box(f"host {index}", "host", operators), reads, makes
        yield from _stage_boxes(graph, stage)
    for name in outputs:
        yield Box(name, "output", "output of the network"), (leaves.get(name, name),), ()


def _stage_boxes(graph: Graph, stage: int) -> Iterator[tuple[Box, tuple[str, ...], tuple[str, ...]]]:
    stages = graph.stages
    views: dict[str, str] = {}  # of channels of a map: that map
    for node in graph.nodes:
        reads = tuple(views.get(name, name) for name in node.inputs.values() if graph.is_value(name))
        if isinstance(node.op, Channels):
            views[node.name] = reads[0]
        elif stages[node.name] == stage:
            shape = " x ".join(map(str, node.output.shape))
            kind: Kind = "accelerator" if isinstance(node.op, Layer) else "joined maps"
            layer = node.name if isinstance(node.op, Layer) else ""
            yield Box(node.name, kind, f"{type(node.op).__name__}, {shape}", layer), reads, (node.name,)


def _in_lanes(pairs: Iterable[tuple[int, int]]) -> Iterator[Way]:
    """The shortest ways in the innermost lanes; no two of a lane lie beside each other unless they begin together."""
    lanes: list[list[tuple[int, int]]] = []
    for start, end in sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair)):
        if end == start + 1:
            yield Way(start, end, 0)
            continue
        free = (
            lane
            for lane, taken in enumerate(lanes)
            if all(first == start or last <= start or end <= first for first, last in taken)
        )
        lane = next(free, len(lanes))
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((start, end))
        yield Way(start, end, lane + 1)
