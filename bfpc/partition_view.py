"""How a build divides the network between the accelerator and the host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.backend.build_folder import read_manifest
from bfpc.inspection import inspect
from bfpc.ir.partition import HostNode

PICTURE = "partition.svg"


@dataclass(frozen=True)
class Segment:
    """What runs without a crossing: a host segment, whose model is `file`, or a stage of the accelerator (None).

    nodes are the host's, layers and macs the accelerator's. writes: the tensors that it hands out.
    """

    name: str
    file: str | None
    nodes: tuple[HostNode, ...]
    layers: int
    macs: int
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """A tensor that one side hands to the other, and its bytes in the feature memory for one image."""

    tensor: str
    to: Literal["host", "accelerator"]
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class PartitionView:
    """The segments in the order in which they run, and what crosses between them. picture: the path of the drawing."""

    folder: Path
    segments: tuple[Segment, ...]
    crossings: tuple[Crossing, ...]
    picture: Path | None

    def to_json(self) -> str:
        """`segments` and `crossings` as objects with the names of their fields, and `picture`."""
        return json.dumps(
            {
                "segments": [asdict(segment) for segment in self.segments],
                "crossings": [asdict(crossing) for crossing in self.crossings],
                "picture": None if self.picture is None else str(self.picture),
            },
            indent=2,
        )


def inspect_partition(folder: Path) -> PartitionView:
    """Reads how the build in `folder` is divided. Raises BuildError where it is none."""
    manifest, layers = read_manifest(folder), inspect(folder).schedule["layers"]
    picture = folder / PICTURE
    return PartitionView(
        folder,
        tuple(_segments(manifest, layers)),
        tuple(_crossings(manifest)),
        picture if picture.is_file() else None,
    )


def _segments(manifest: Mapping[str, Any], layers: list[dict[str, Any]]) -> Iterator[Segment]:
    stages = manifest["stages"]
    for stage in range(len(stages) + 1):
        for index, entry in enumerate(manifest["host"]):
            if entry["stage"] == stage:
                nodes = tuple(HostNode(**node) for node in entry["nodes"])
                yield Segment(f"host {index}", entry["file"], nodes, 0, 0, tuple(entry["outputs"]))
        if stage < len(stages):
            first, count = stages[stage]["first_layer"], stages[stage]["layers"]
            macs = sum(layer["macs"] for layer in layers[first : first + count])
            writes = tuple(port["name"] for port in manifest["outputs"] if port["stage"] == stage)
            yield Segment(f"accelerator {stage}", None, (), count, macs, writes)


def _crossings(manifest: Mapping[str, Any]) -> Iterator[Crossing]:
    read = {name for entry in manifest["host"] for name in entry["inputs"]}
    made = {name for entry in manifest["host"] for name in entry["outputs"]}
    for port in manifest["outputs"]:
        if port["name"] in read:
            yield Crossing(port["name"], "host", tuple(port["shape"]), WORD_BYTES * port["words"])
    for port in manifest["inputs"]:
        if port["name"] in made:
            yield Crossing(port["name"], "accelerator", tuple(port["shape"]), WORD_BYTES * port["words"])
