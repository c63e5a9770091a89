"""Draws how a network is divided: a chain of boxes for host segments and accelerator stages, as an SVG file.

Each arrow carries what the next box reads: network inputs, and what crosses between host and accelerator. Bytes of the
accelerator's tensors are those in the feature memory.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.backend.memory_plan import feature_layout
from bfpc.backend.schedule import Schedule
from bfpc.backend.templates import template_environment
from bfpc.ir.graph import Graph, Port
from bfpc.ir.layout import onnx_shape
from bfpc.ir.partition import HostSegment
from bfpc.ir.stages import stage_count

LINE, PADDING, ARROW = 16, 12, 28  # pixels: height of a line of text, space around it, least length of an arrow
CHARACTERS = 64  # of a line in a box
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LISTED = 4  # tensors at an arrow; the others are counted


@dataclass(frozen=True)
class Tensor:
    """What a box reads. bytes: None where that is known only at run time."""

    name: str
    shape: tuple[int | str, ...]
    bytes: int | None

    def __str__(self) -> str:
        name = self.name if len(self.name) <= CHARACTERS // 2 else "..." + self.name[-CHARACTERS // 2 :]
        size = "" if self.bytes is None else f", {self.bytes:,} bytes"
        return f"{name} [{', '.join(map(str, self.shape))}]{size}"


@dataclass(frozen=True)
class Box:
    """A host segment, a stage of the accelerator, or the network's outputs, with what it reads from outside."""

    kind: Literal["host", "accelerator", "outputs"]
    title: str
    lines: tuple[str, ...]
    reads: tuple[Tensor, ...]


@dataclass(frozen=True)
class PlacedBox:
    """A box with its place in the picture, in pixels from the top; the arrow to it begins at `start`."""

    box: Box
    labels: tuple[str, ...]
    start: int
    top: int

    @property
    def height(self) -> int:
        return 2 * PADDING + LINE * (1 + len(self.box.lines))


def draw_partition(graph: Graph, schedule: Schedule, host: Sequence[HostSegment], outputs: Sequence[str]) -> str:
    """The picture as SVG."""
    placed = list(_place(make_boxes(graph, schedule, host, outputs)))
    template = template_environment("report", markup=True, shown=_shown).get_template("partition.svg.j2")
    return template.render(name=graph.name, placed=placed, line=LINE, padding=PADDING)


def _shown(value: object) -> object:
    """What a picture shows of a value: characters that XML cannot hold are escaped, such as \\x01."""
    return NOT_IN_XML.sub(lambda match: repr(match[0])[1:-1], value) if isinstance(value, str) else value


def make_boxes(
    graph: Graph, schedule: Schedule, host: Sequence[HostSegment], outputs: Sequence[str]
) -> tuple[Box, ...]:
    """The boxes in the order in which they run; the network's outputs last."""
    group = schedule.architecture.k_vec
    made = {name for segment in host for name in segment.outputs}
    crossing = {port.name: _tensor(graph, port, group) for port in (*graph.inputs, *graph.outputs)}
    declared = [_declared(segment) for segment in host]
    boxes = []
    for stage in range(stage_count(graph) + 1):
        for index, segment in enumerate(host):
            if segment.stage == stage:
                known = declared[index] | {name: crossing[name] for name in segment.inputs if name in crossing}
                reads = tuple(known[name] for name in segment.inputs if name not in made)
                boxes.append(Box("host", f"host {index}", _operators(segment), reads))
        if lines := _layers(graph, schedule, stage):
            reads = tuple(crossing[port.name] for port in graph.inputs if port.stage == stage)
            boxes.append(Box("accelerator", f"accelerator, stage {stage}", lines, reads))
    known = {name: tensor for tensors in declared for name, tensor in tensors.items()} | crossing
    return (*boxes, Box("outputs", "outputs", (), tuple(known[name] for name in outputs if name in known)))


def _tensor(graph: Graph, port: Port, group: int) -> Tensor:
    shape = onnx_shape(port.axes, port.map_shape(graph.value(port.value)))
    return Tensor(port.name, shape, WORD_BYTES * feature_layout(graph, port.value, group).words)


def _declared(segment: HostSegment) -> dict[str, Tensor]:
    """The inputs and outputs of a segment as its model declares them, of one image."""
    graph = onnx.load_from_string(segment.model).graph
    tensors = {}
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type
        sizes = [dim.dim_value or (1 if dim.dim_param == "N" else dim.dim_param or "?") for dim in kind.shape.dim]
        numbers = [size for size in sizes if isinstance(size, int)]
        width = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        bytes = math.prod(numbers) * width if len(numbers) == len(sizes) else None
        tensors[value.name] = Tensor(value.name, tuple(sizes), bytes)
    return tensors


def _operators(segment: HostSegment) -> tuple[str, ...]:
    counts = Counter(node.operator for node in segment.nodes)
    listed = ", ".join(operator if count == 1 else f"{count} {operator}" for operator, count in counts.items())
    return tuple(textwrap.wrap(listed, CHARACTERS, max_lines=3, placeholder=", ..."))


def _layers(graph: Graph, schedule: Schedule, stage: int) -> tuple[str, ...]:
    """The figures of an accelerator stage; nothing where it has no layers."""
    stages = graph.stages
    layers = [layer for layer in schedule.layers if stages[layer.name] == stage]
    if not layers:
        return ()
    figures = f"{len(layers)} layer{'s' * (len(layers) > 1)}, {sum(layer.macs for layer in layers):,} multiplications"
    return (figures, *(_shorten(text) for text in _ends(layers[0].name, layers[-1].name)))


def _ends(first: str, last: str) -> tuple[str, ...]:
    return (first,) if first == last else (f"from {first}", f"to {last}")


def _shorten(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 3] + "..."


def _place(boxes: Sequence[Box]) -> Iterator[PlacedBox]:
    """The boxes one below the other, each as far from the last as the labels of its arrow need."""
    bottom = 0
    for box in boxes:
        labels = [str(tensor) for tensor in box.reads[:LISTED]]
        if more := box.reads[LISTED:]:
            labels.append(f"and {len(more)} more, {sum(tensor.bytes or 0 for tensor in more):,} bytes")
        top = bottom + ARROW + LINE * len(labels)
        placed = PlacedBox(box, tuple(labels), bottom, top)
        yield placed
        bottom = top + placed.height
