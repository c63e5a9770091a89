"""What a report shows, gathered from a build folder and a verification, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from bfpc.backend.architecture import Architecture, size_architecture
from bfpc.backend.build_folder import COMPILE_AGAIN, Build, read_build
from bfpc.backend.build_schema import check_timeline
from bfpc.backend.devices import devices
from bfpc.backend.resources import Area, estimate_area
from bfpc.comparison import Comparison, Verification
from bfpc.errors import BuildError
from bfpc.inspection import Inspection, inspect
from bfpc.ir.graph import Node
from bfpc.ir.operators import Activation, Clip, Table
from bfpc.report.findings import Finding, find_worst
from bfpc.report.network_view import NetworkView, view_network
from bfpc.report.octaves import Octaves, weight_octaves

PROCESSES = (  # of the accelerator, as data pass through them
    "feature reads",
    "features",
    "weight reads",
    "weights",
    "array",
    "windows",
    "residual reads",
    "residuals",
    "tail",
    "store",
    "writes",
)


@dataclass(frozen=True)
class Contents:
    """verification: None where the network cannot be compared; `remarks` say why. maps: of what the emulator stored."""

    build: Build
    inspection: Inspection
    timeline: Mapping[str, Any]
    verification: Verification | None
    maps: Mapping[str, Octaves]
    images: str
    remarks: tuple[str, ...]

    @property
    def schedule(self) -> dict[str, Any]:
        return self.inspection.schedule

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The entries of schedule.json."""
        return list(self.schedule["layers"])

    @cached_property
    def runs(self) -> list[list[dict[str, Any]]]:
        """The layers that run together; the first of them has the cycles."""
        runs: list[list[dict[str, Any]]] = []
        for layer in self.layers:
            if layer["runs_with"] is None:
                runs.append([])
            runs[-1].append(layer)
        return runs

    @cached_property
    def starts(self) -> list[float]:
        """When each layer begins, in milliseconds."""
        per_cycle = self.schedule["milliseconds"] / self.schedule["cycles"]
        cycles = accumulate((layer["cycles"] for layer in self.layers[:-1]), initial=0)
        return [per_cycle * cycle for cycle in cycles]

    @cached_property
    def anchors(self) -> dict[str, str]:
        """Where on the page a layer's figures stand, by its name."""
        return {layer["name"]: f"layer-{index}" for index, layer in enumerate(self.layers)}

    @cached_property
    def weights(self) -> dict[str, Octaves]:
        """The octaves of layers' weights."""
        graph = self.build.graph
        stored = ((node.name, graph.weight(node)) for node in graph.layers)
        return weight_octaves({name: weight for name, weight in stored if weight is not None})

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """The layers that were compared, by name."""
        return {} if self.verification is None else {layer.name: layer for layer in self.verification.layers}

    @cached_property
    def sqnr_db(self) -> dict[str, float]:
        """Of the layers that were compared."""
        known = {name: layer.sqnr_db for name, layer in self.comparisons.items()}
        return {name: sqnr for name, sqnr in known.items() if sqnr is not None}

    @cached_property
    def worst(self) -> tuple[Finding, ...]:
        extra = self.build.config.formats.activation.extra_sign_bit
        return find_worst(self.build.graph, self.sqnr_db, self.weights, self.maps, extra_sign_bit=extra)

    @cached_property
    def view(self) -> NetworkView:
        return view_network(self.build.graph, self.build.host, self.build.manifest["outputs_of_network"])

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """What the accelerator takes of every device that is known, the smallest first."""
        architecture = Architecture(**self.schedule["architecture"])
        areas = [estimate_area(architecture, device) for device in devices().values()]
        return tuple(sorted(areas, key=lambda area: area.device.logic))

    def place(self, stored: Mapping[str, Any]) -> str:
        """Where a map of the schedule lies."""
        return "on chip" if stored["address"] < self.schedule["architecture"]["on_chip_words"] else "in DRAM"

    @property
    def places(self) -> set[str]:
        """Where maps lie."""
        return {self.place(stored) for stored in self.schedule["maps"]}

    @property
    def area(self) -> Area | None:
        """What it takes of the config's device; without one, of the smallest that it fits, if any."""
        device = self.build.config.architecture.device
        wanted = (area for area in self.areas if (area.fits if device is None else area.device.name == device))
        return next(wanted, None)

    @property
    def images_per_second(self) -> float:
        return 1e3 / float(self.schedule["milliseconds"])

    @cached_property
    def shapes(self) -> dict[str, tuple[str, str]]:
        """Channels x height x width of the maps that each layer reads and writes, by its name."""
        graph = self.build.graph
        shapes = ((node.name, graph.value(node.inputs["x"]).shape, node.output.shape) for node in graph.layers)
        return {name: (" x ".join(map(str, read)), " x ".join(map(str, written))) for name, read, written in shapes}

    @cached_property
    def tails(self) -> dict[str, str]:
        """What each layer does after its array, in words."""
        return {node.name: describe_tail(node) for node in self.build.graph.layers}

    @cached_property
    def fused(self) -> dict[str, str]:
        """Each layer's operator and the kinds of what was fused into it, briefly."""
        return {
            node.name: " + ".join((type(node.op).__name__, *(part[0] for part in _tail_parts(node))))
            for node in self.build.graph.layers
        }

    @cached_property
    def waits(self) -> dict[str, str]:
        """What the array waits for in each layer, and for how many cycles, by its name."""
        return {
            layer["name"]: ", ".join(f"{cause} {cycles:,}" for cause, cycles in layer["stalls"].items()) or "nothing"
            for layer in self.layers
        }

    @property
    def formats(self) -> list[tuple[str, float]]:
        """Pairs of formats that the array multiplies, with their share of the multiplications, the largest first."""
        macs: Counter[str] = Counter()
        for layer in self.layers:
            if layer["weight_format"]:
                macs[f"{layer['activation_format']} x {layer['weight_format']}"] += layer["macs"]
        return [(formats, count / macs.total()) for formats, count in macs.most_common() if count]


def describe_tail(node: Node) -> str:
    """What was fused into a layer."""
    return ", then ".join(" ".join(part) for part in _tail_parts(node)) or "nothing"


def _tail_parts(node: Node) -> Iterator[tuple[str, ...]]:
    """What a layer does after its array, each part with what it takes."""
    tail = node.layer.tail
    if "bias" in node.inputs:
        yield ("bias",)
    if "residual" in node.inputs:
        yield tail.residual, node.inputs["residual"]
    if tail.activation is not None:
        yield (_activation(tail.activation),)
    if tail.pool is not None:
        yield f"{tail.pool.kind} pool", " x ".join(map(str, tail.pool.kernel))


def _activation(activation: Activation) -> str:
    if isinstance(activation, Clip):
        return "ReLU" if activation == Clip() else f"clip from {activation.low:g} to {activation.high:g}"
    if isinstance(activation, Table):
        return f"table of {', '.join(str(step[0]) for step in activation.steps)}"
    return type(activation).__name__


def gather(
    folder: Path,
    verification: Verification | None,
    maps: Mapping[str, Octaves],
    images: str,
    remarks: tuple[str, ...] = (),
) -> Contents:
    """Reads the build in `folder`. images: what the rest was measured on, in words. Raises what `read_build` does."""
    build, inspection = read_build(folder), inspect(folder)
    try:
        timeline = check_timeline(build.contents["timeline.json"])
        _check_schedule(build, inspection.schedule)
    except ValueError as error:
        what = f"the files of the build contradict each other: {error}"
        raise BuildError(what, where=str(folder), fix=COMPILE_AGAIN) from None
    return Contents(build, inspection, timeline, verification, maps, images, remarks)


def _check_schedule(build: Build, schedule: Mapping[str, Any]) -> None:
    """Raises ValueError where a schedule is not of the build's network and accelerator."""
    layers, count = schedule["layers"], len(schedule["layers"])
    if [layer["name"] for layer in layers] != [node.name for node in build.graph.layers]:
        raise ValueError("layers of schedule.json and network.ir")
    with_others = {last.name: first.name for first, last in (run for run in build.graph.runs if len(run) > 1)}
    if any(layer["runs_with"] != with_others.get(layer["name"]) for layer in layers):
        raise ValueError("layers that run together in schedule.json and network.ir")
    if any((layer["cycles"] < 1) != (layer["runs_with"] is not None) for layer in layers):
        raise ValueError("cycles of schedule.json")
    if any(not each["life"][0] <= each["life"][1] <= count or each["life"][0] == count for each in schedule["maps"]):
        raise ValueError("maps of schedule.json")
    config = build.config
    if Architecture(**schedule["architecture"]) != size_architecture(
        build.graph, config.architecture, config.array_size
    ):
        raise ValueError("architecture of schedule.json and config.yaml")
