"""A finished design: all that a build folder holds, as plain values. Nothing here touches a disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bfpc.backend.architecture import Architecture
from bfpc.backend.bit_packing import Words
from bfpc.backend.manifest import checksum, host_file, make_manifest, placement
from bfpc.backend.partition_picture import draw_partition
from bfpc.backend.program import FIELDS, encode_program
from bfpc.backend.render import render
from bfpc.backend.schedule import Schedule, make_schedule, schedule_document, timeline_document
from bfpc.backend.weight_image import pack_weights
from bfpc.config import Config
from bfpc.ir.graph import Graph
from bfpc.ir.partition import HostSegment
from bfpc.ir.text import print_graph


@dataclass(frozen=True)
class Vectors:
    """One image for the C simulation: the input maps' words, and the expected words of all layers' outputs in order."""

    input: Words
    expected: Words


@dataclass(frozen=True)
class Design:
    """A quantized graph on an accelerator, with what it was made from.

    model: the original network as an ONNX file. outputs: its outputs' names, in order. host: what the host computes.
    """

    graph: Graph
    schedule: Schedule
    hls: Mapping[str, str]
    config: Config
    model: bytes
    outputs: tuple[str, ...]
    host: tuple[HostSegment, ...] = ()


def make_design(
    graph: Graph,
    architecture: Architecture,
    config: Config,
    model: bytes,
    outputs: Sequence[str] | None = None,
    host: tuple[HostSegment, ...] = (),
) -> Design:
    """Packs, places, schedules and renders a quantized graph; its outputs are the network's where `outputs` is None.

    Raises CapacityError where it does not fit.
    """
    names = tuple(port.name for port in graph.outputs) if outputs is None else tuple(outputs)
    schedule = make_schedule(graph, architecture, pack_weights(graph, architecture))
    return Design(graph, schedule, render(architecture, FIELDS), config, model, names, host)


def design_files(design: Design, vectors: Vectors | None = None) -> dict[str, bytes]:
    """Every file of the build folder by its path, `manifest.json` last. Equal designs make equal bytes."""
    schedule = design.schedule
    files = {
        "weights.bin": _words(schedule.weights.words),
        "program.bin": encode_program(schedule.program).astype("<i4").tobytes(),
        "schedule.json": _json(schedule_document(schedule)),
        "timeline.json": _lines(timeline_document(schedule)),
        "network.ir": print_graph(design.graph).encode(),
        "partition.svg": draw_partition(design.graph, schedule, design.host, design.outputs).encode(),
        "config.yaml": design.config.to_yaml().encode(),
        "model.onnx": design.model,
        **{host_file(index): segment.model for index, segment in enumerate(design.host)},
        **{f"hls/{path}": text.encode() for path, text in design.hls.items()},
    }
    if vectors is not None:
        files["hls/vectors/input.bin"] = _words(vectors.input)
        files["hls/vectors/expected.bin"] = _words(vectors.expected)
    files["manifest.json"] = _json(
        make_manifest(
            design.graph,
            placement(schedule),
            design.config,
            design.host,
            design.outputs,
            {path: checksum(content) for path, content in files.items()},
        )
    )
    return files


def _words(words: Words) -> bytes:
    return words.astype("<u8").tobytes()


def _lines(document: Mapping[str, Any]) -> bytes:
    """JSON with a line for each key."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    return f"{{\n{lines}\n}}\n".encode()


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
