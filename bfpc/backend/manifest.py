"""The manifest: what a runtime and the other commands need to know about a build.

A value's real number is its mantissa times `2 ** (scale_exponent + offset)`; addresses and words are of 64 bits.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bfpc
from bfpc.backend.memory_plan import feature_layout
from bfpc.backend.program import VERSION
from bfpc.backend.schedule import Schedule
from bfpc.backend.trace import trace_names
from bfpc.backend.weight_image import LayerImage
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.config import Config
from bfpc.ir.graph import Graph, Node, Port
from bfpc.ir.layout import onnx_shape
from bfpc.ir.partition import HostNode, HostSegment
from bfpc.ir.stages import stage_count
from bfpc.numerics.format import BfpFormat

MANIFEST_VERSION = 5
CONSTANT_ROLES = ("weight", "bias", "slope", "table")


@dataclass(frozen=True)
class Placement:
    """Where maps and constants lie. addresses: of maps. words: of the feature memory. group: channels of its groups."""

    group: int
    words: int
    addresses: Mapping[str, int]
    images: Mapping[str, LayerImage]


def placement(schedule: Schedule) -> Placement:
    memory = schedule.memory
    return Placement(schedule.architecture.k_vec, memory.words, memory.addresses, schedule.weights.layers)


def make_manifest(
    graph: Graph,
    placed: Placement,
    config: Config,
    host: Sequence[HostSegment],
    outputs: Sequence[str],
    checksums: Mapping[str, str],
) -> dict[str, Any]:
    """`manifest.json` as plain values.

    outputs: the ONNX names of the network's outputs, in order. checksums: of all other files.
    """
    group, stages = placed.group, graph.stages
    return {
        "manifest_version": MANIFEST_VERSION,
        "bfpc_version": bfpc.__version__,
        "program_version": VERSION,
        "network": graph.name,
        "inputs": [_port(graph, port, placed, port.stage) for port in graph.inputs],
        "outputs": [_port(graph, port, placed, stages[port.value]) for port in graph.outputs],
        "outputs_of_network": list(outputs),
        "host": [_segment(index, segment) for index, segment in enumerate(host)],
        "stages": _stages(graph),
        "feature_memory": {"words": placed.words, "group": group},
        "layers": [_layer(graph, node, placed.images[node.name]) for node in graph.layers],
        "trace": [{"name": name, "words": feature_layout(graph, name, group).words} for name in trace_names(graph)],
        "config": config.model_dump(mode="json"),
        "files": {path: checksums[path] for path in sorted(checksums)},
    }


def checksum(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def host_file(index: int) -> str:
    """Where the build folder holds a host segment."""
    return f"host/{index:02}.onnx"


def _segment(index: int, segment: HostSegment) -> dict[str, Any]:
    return {
        "file": host_file(index),
        "stage": segment.stage,
        "inputs": list(segment.inputs),
        "outputs": list(segment.outputs),
        "nodes": [asdict(node) for node in segment.nodes],
    }


def read_segment(entry: Mapping[str, Any], model: bytes) -> HostSegment:
    """A host segment from its entry in the manifest's `host` and the content of its file."""
    nodes = tuple(HostNode(**node) for node in entry["nodes"])
    return HostSegment(entry["stage"], model, tuple(entry["inputs"]), tuple(entry["outputs"]), nodes)


def _stages(graph: Graph) -> list[dict[str, int]]:
    """Which of the program's layers make up each stage of the accelerator."""
    stages = graph.stages
    layers = Counter(stages[node.name] for node in graph.layers)
    counts = [layers[stage] for stage in range(stage_count(graph))]
    return [{"first_layer": sum(counts[:stage]), "layers": count} for stage, count in enumerate(counts)]


def _port(graph: Graph, port: Port, placed: Placement, stage: int) -> dict[str, Any]:
    value = graph.value(port.value)
    layout = feature_layout(graph, port.value, placed.group)
    return {
        "name": port.name,
        "shape": list(onnx_shape(port.axes, port.map_shape(value))),
        "stage": stage,
        "axes": list(port.axes),
        "fold": None if port.fold is None else asdict(port.fold),
        "map": port.value,
        "map_shape": list(value.shape),
        **_format(layout.format),
        "address": placed.addresses[port.value],
        "words": layout.words,
    }


def _format(format: BfpFormat) -> dict[str, Any]:
    return {"format": asdict(format), "scale_exponent": format.exponent}


def _layer(graph: Graph, node: Node, image: LayerImage) -> dict[str, Any]:
    return {
        "name": node.name,
        "input_formats": {
            role: asdict(graph.format(node.inputs[role])) for role in ("x", "residual") if role in node.inputs
        },
        "output_format": asdict(graph.format(node.name)),
        "constants": {role: node.inputs[role] for role in CONSTANT_ROLES if role in node.inputs},
        "weights": asdict(image),
    }


def read_placement(manifest: Mapping[str, Any]) -> Placement:
    """Where a manifest says that maps and constants lie; of maps only those of inputs and outputs."""
    addresses = {port["map"]: port["address"] for port in (*manifest["inputs"], *manifest["outputs"])}
    images = {entry["name"]: read_layer_image(entry) for entry in manifest["layers"]}
    memory = manifest["feature_memory"]
    return Placement(memory["group"], memory["words"], addresses, images)


def read_layer_image(entry: Mapping[str, Any]) -> LayerImage:
    """Where a layer's constants lie, from its entry in the manifest's `layers`."""
    weights = entry["weights"]
    layout = dict(weights["layout"])
    if layout["weight_format"] is not None:
        layout["weight_format"] = BfpFormat(**layout["weight_format"])
        layout["weight_shape"] = tuple(layout["weight_shape"])
    return LayerImage(**{**weights, "layout": ParameterLayout(**layout)})
