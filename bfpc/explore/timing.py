"""How long networks take on an array with buffers of several sizes: work for a worker.

A network is quantized for an array as the compiler does, in the given formats, but calibrated on a single image and
without the passes that make up for what quantization loses: they change values, not shapes or widths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from bfpc.backend.architecture import Architecture, size_architecture
from bfpc.backend.devices import Device
from bfpc.backend.layer_work import LayerWork
from bfpc.backend.resources import estimate_area
from bfpc.backend.schedule import layer_works
from bfpc.backend.tiling import choose_tile
from bfpc.config import ArraySize, Config
from bfpc.config_sections import Calibration
from bfpc.data import InputData
from bfpc.errors import CapacityError
from bfpc.explore.candidates import Buffers, candidate_config, list_buffers, list_multipliers
from bfpc.frontend.reader import Network, read_model
from bfpc.ir.graph import Graph
from bfpc.ir.text import print_graph
from bfpc.passes.calibrate import calibrate
from bfpc.passes.fold_scale import fold_scale
from bfpc.pipeline import (
    Dump,
    Prepared,
    calibration_data,
    float_passes,
    input_images,
    prepare,
    quantize_network,
    run_passes,
    streaming,
)


@dataclass(frozen=True)
class Question:
    """A network, by its index, on an array."""

    network: int
    array: ArraySize


@dataclass(frozen=True)
class Timing:
    """A network on an accelerator as large as it needs.

    architecture: None where the buffers cannot hold a layer. cycles: of an image; None where the device is too small,
    then the architecture may be None too.
    """

    buffers: Buffers
    architecture: Architecture | None = None
    cycles: int | None = None


@dataclass(frozen=True)
class Shared:
    """What all workers know."""

    models: tuple[Path, ...]
    config: Config
    device: Device
    calibration: Path | None


def make_timer(shared: Shared) -> Callable[[Question], list[Timing]]:
    """The function that answers questions, with networks read once."""
    config = shared.config.without_passes().model_copy(update={"calibration": Calibration(images=1)})

    @cache
    def read(network: int) -> tuple[Network, InputData]:
        found = read_model(shared.models[network])
        folded = replace(found, graph=fold_scale(found.graph))  # the same for all arrays
        return folded, calibration_data(found, config, shared.calibration)

    def time_array(question: Question) -> list[Timing]:
        quantized: dict[str, Graph] = {}

        def quantize(candidate: Config) -> Graph:
            """Buffers change a graph only where a layer has to be split for them, and in which maps stream."""
            network, data = read(question.network)
            graph = run_passes(network.graph, float_passes(candidate), Dump(None))
            key = print_graph(graph)
            if key not in quantized:
                statistics = calibrate(graph, input_images(graph, data), prepare)
                quantized[key] = quantize_network(Prepared(network, graph, data, statistics), candidate)
            return streaming(candidate)(quantized[key])

        smallest, *others = list_buffers(config)
        first = _time(shared, config, question.array, smallest, quantize)
        if first.architecture is not None and first.cycles is None:  # nor will it fit with larger buffers
            return [first, *map(Timing, others)]
        return [first, *(_time(shared, config, question.array, buffers, quantize) for buffers in others)]

    return time_array


def _time(
    shared: Shared, config: Config, array: ArraySize, buffers: Buffers, quantize: Callable[[Config], Graph]
) -> Timing:
    candidate = candidate_config(config, shared.device, array, buffers)
    try:
        graph = quantize(candidate)
        architecture = size_architecture(graph, candidate.architecture, candidate.array_size)
        if not any(
            estimate_area(each, shared.device).fits for each in list_multipliers(architecture, config, shared.device)
        ):
            return Timing(buffers, architecture)
        return Timing(buffers, architecture, network_cycles(graph, architecture))
    except CapacityError:
        return Timing(buffers)


def network_cycles(graph: Graph, architecture: Architecture) -> int:
    """Cycles of one image, as the schedule of a compiled network has them. Raises CapacityError."""
    known: dict[LayerWork, int] = {}
    total = 0
    for work in layer_works(graph, architecture):
        behind = None if work.behind is None else replace(work.behind, name="")
        key = replace(work, name="", behind=behind)  # networks repeat layers
        if key not in known:
            known[key] = choose_tile(work)[1].cycles
        total += known[key]
    return total
