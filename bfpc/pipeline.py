"""From an ONNX file to a build folder: the stages of the compiler, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bfpc.backend.architecture import depthwise_window, size_architecture
from bfpc.backend.build_folder import check_replaceable, nothing_more, write_build
from bfpc.backend.design import Design, Vectors, make_design
from bfpc.backend.devices import find_device
from bfpc.backend.trace import input_names, pack_maps, trace_names
from bfpc.config import Config
from bfpc.data import Array, InputData, load_inputs
from bfpc.emulator.session import Emulator, Maps, folded_inputs, of_image, real_values, stored_inputs
from bfpc.errors import BuildError, ConfigError
from bfpc.frontend.reader import Network, read_model
from bfpc.ir.graph import Graph, GraphError
from bfpc.ir.text import print_graph
from bfpc.numerics.format import BfpTensor
from bfpc.passes.absorb_pass import absorb_pass
from bfpc.passes.adjust_layers import adjust_layers, adjusted_images
from bfpc.passes.align_concats import align_concats
from bfpc.passes.assign_domains import assign_domains
from bfpc.passes.assign_formats import assign_formats, check_overrides, unused_overrides
from bfpc.passes.buffers import pair_fits
from bfpc.passes.calibrate import Runner, Statistics, calibrate
from bfpc.passes.choose_windows import choose_windows
from bfpc.passes.compose_selections import compose_selections
from bfpc.passes.equalize import choose_factors, equalize, equalized_statistics
from bfpc.passes.fold_input import fold_input
from bfpc.passes.fold_scale import fold_scale
from bfpc.passes.fuse_tables import fuse_tables
from bfpc.passes.fuse_tails import fuse_tails, tail_fits
from bfpc.passes.lower_layers import lower_layers
from bfpc.passes.merge_clips import merge_clips
from bfpc.passes.order_stages import order_stages
from bfpc.passes.place_concats import place_concats
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.passes.quantize_weights import quantize_weights
from bfpc.passes.split_channels import split_channels
from bfpc.passes.split_groups import split_groups
from bfpc.passes.split_kernels import split_kernels
from bfpc.passes.split_pools import split_pools
from bfpc.passes.stream_maps import stream_maps
from bfpc.passes.view_channels import view_channels
from bfpc.progress import Progress, silent, step
from bfpc.runtime.host_tensors import add_host_tensors
from bfpc.runtime.signature import input_specs, read_signature

Pass = Callable[[Graph], Graph]
WINDOW_IMAGES = 8  # that windows are chosen on


@dataclass(frozen=True)
class Compiled:
    """What a compilation made: the design that was written, and what the user should know about it."""

    design: Design
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A network as the quantizing passes take it.

    graph: its layers in float32. data: the calibration images, which `statistics` were measured on.
    """

    network: Network
    graph: Graph
    data: InputData
    statistics: Statistics


def compile_model(
    model: Path,
    config: Config,
    output: Path,
    calibration: Path | None = None,
    dump_ir: Path | None = None,
    progress: Progress = silent,
    describe: Callable[[Path], Mapping[str, bytes]] = nothing_more,
) -> Compiled:
    """Compiles an ONNX file into the folder `output`.

    calibration: a folder of pictures, a .npy or .npz; synthetic data if None. dump_ir: a folder for the printed graph
    after every pass. describe: makes more files of the build before it takes its place; see
    `bfpc.report.page.report_files`. Raises a BfpcError where the model, the config or the data is at fault; nothing is
    written then.
    """
    check_replaceable(output)
    check_compilable(config)
    dump = Dump(dump_ir)
    prepared = prepare_network(model, config, calibration, dump, progress)
    check_overrides(prepared.graph, prepared.network.graph, config)
    network, data = prepared.network, prepared.data
    graph = quantize_network(prepared, config, dump, progress)
    architecture = size_architecture(graph, config.architecture, config.array_size)
    outputs = [value.name for value in network.model.graph.output]
    onnx = network.model.SerializeToString(deterministic=True)
    design = step(progress, "scheduling", lambda: make_design(graph, architecture, config, onnx, outputs, network.host))
    vectors = step(progress, "running one image", lambda: make_vectors(graph, architecture.k_vec, data))
    step(progress, "writing the build", lambda: write_build(design, output, vectors, describe))
    return Compiled(design, (*network.warnings, *data.warnings, *unused_overrides(graph, config)))


def check_compilable(config: Config) -> None:
    """Raises ConfigError where the formats are not given, no hardware computes in them, or its device is not known."""
    if config.precision == "auto":
        fix = "choose them with bfpc search, and compile the config that it writes"
        raise ConfigError("the formats are not chosen yet", where="precision: auto", fix=fix)
    if config.arithmetic != "exact":
        fix = "measure it with bfpc evaluate, or give arithmetic: exact"
        raise ConfigError("no hardware computes the published arithmetic", where="arithmetic:", fix=fix)
    if config.architecture.device is not None:
        find_device(config.architecture.device)


def prepare_network(
    model: Path, config: Config, calibration: Path | None, dump: Dump | None = None, progress: Progress = silent
) -> Prepared:
    """Reads a network, makes layers of it, and calibrates them; see `compile_model`."""
    network = step(progress, "reading the model", lambda: read_model(model))
    passes = float_passes(config)
    graph = run_passes(network.graph, passes, dump or Dump(None), progress, "rewriting layers")
    data = step(progress, "reading the data", lambda: calibration_data(network, config, calibration))
    statistics = calibrate(graph, progress(list(input_images(graph, data)), "calibrating"), prepare)
    return Prepared(network, graph, data, statistics)


def quantize_network(
    prepared: Prepared, config: Config, dump: Dump | None = None, progress: Progress = silent
) -> Graph:
    """The quantized graph: what the formats and passes of `config` make of the network."""
    passes = quantizing_passes(config, prepared, progress)
    return run_passes(prepared.graph, passes, dump or Dump(None), progress, "quantizing")


def calibration_data(network: Network, config: Config, source: Path | None) -> InputData:
    """The network's inputs, and what the host makes of them for the accelerator."""
    signature = read_signature(network.model, network.graph)
    data = load_inputs(source, input_specs(signature, network.graph), config.preprocessing, config.calibration.images)
    return add_host_tensors(data, network.model, signature, network.graph)


def float_passes(config: Config) -> dict[str, Pass]:
    """The passes on the float network, by name, in the order they run."""
    array = config.array_size
    return {
        "fold-scale": fold_scale,
        "merge-clips": merge_clips,
        "fuse-tables": fuse_tables,
        "lower-layers": lower_layers,
        "absorb-pass": absorb_pass,
        "fold-input": partial(fold_input, lanes=array.c_vec),
        "split-pools": partial(split_pools, config=config),
        "fuse-tails": lambda graph: fuse_tails(graph, partial(tail_fits, graph, config)),
        "split-groups": partial(split_groups, array=array),
        "view-channels": partial(view_channels, group=array.k_vec),
        "align-concats": partial(align_concats, group=array.k_vec),
        "compose-selections": partial(compose_selections, array=array),
        "split-kernels": partial(split_kernels, config=config),
        "split-channels": partial(split_channels, config=config),
        "place-concats": partial(place_concats, group=array.k_vec),
        "order-stages": order_stages,
    }


def quantizing_passes(config: Config, prepared: Prepared, progress: Progress) -> dict[str, Pass]:
    """The passes from the calibrated float network to the quantized one, by name, in the order they run."""
    chosen, data = config.passes, prepared.data
    factors = choose_factors(prepared.graph, prepared.statistics) if chosen.equalize else {}
    original = equalize(prepared.graph, factors)
    statistics = equalized_statistics(prepared.statistics, factors)

    def move_windows(graph: Graph) -> Graph:
        images = input_images(original, data)[:WINDOW_IMAGES]
        return choose_windows(graph, original, progress(images, "choosing windows"), prepare)

    def adjust(graph: Graph) -> Graph:
        count = adjusted_images(graph)
        maps = folded_inputs(original, _first_images(original, data, count))
        quantized = real_values(_first_inputs(graph, data, count))
        return adjust_layers(graph, original, quantized, maps, chosen, prepare, progress)

    return {
        **({"equalize": partial(equalize, exponents=factors)} if chosen.equalize else {}),
        "assign-domains": partial(assign_domains, domains=statistics.domains),
        "assign-formats": partial(assign_formats, config=config, largest=statistics.largest),
        **({"choose-windows": move_windows} if chosen.choose_windows else {}),
        "quantize-weights": partial(quantize_weights, config=config),
        **({"adjust-layers": adjust} if chosen.compensate_rounding or chosen.correct_bias else {}),
        "prove-accumulators": prove_accumulators,
        "stream-maps": streaming(config),
    }


def streaming(config: Config) -> Pass:
    """The pass that depends on the buffers alone; it finds anew what streams."""
    setting = config.architecture.depthwise_window
    return lambda graph: stream_maps(graph, depthwise_window(graph, setting), partial(pair_fits, graph, config))


class Dump:
    """Writes the printed graph after every pass to a folder, numbered; None writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._written = folder, list[Path]()

    def __call__(self, name: str, graph: Graph) -> None:
        if self._folder is None:
            return
        file = self._folder / f"{len(self._written) + 1:02}-{name}.ir"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._written.append(file)
            file.write_text(print_graph(graph))
        except OSError as error:
            with suppress(OSError):
                for written in self._written:
                    written.unlink(missing_ok=True)
                self._folder.rmdir()  # which fails where the user has other files there
            fix = "check the folder's permissions and the free space, or give another one with --dump-ir"
            raise BuildError(f"cannot write the graph: {error}", where=str(self._folder), fix=fix) from error


def run_passes(
    graph: Graph, passes: Mapping[str, Pass], dump: Dump, progress: Progress = silent, description: str = ""
) -> Graph:
    """The graph after all passes; each leaves a well-formed one."""
    for name, transform in progress(passes.items(), description):
        graph = transform(graph)
        try:
            graph.check()
        except GraphError as error:
            error.add_note(f"after {name}:\n{print_graph(graph)}")
            raise
        dump(name, graph)
    return graph


def prepare(graph: Graph, names: list[str]) -> Runner:
    """Makes a graph ready to run for the passes that need to."""
    return Emulator(graph, names).run


def input_images(graph: Graph, data: InputData) -> list[dict[str, Maps]]:
    """The input maps of one image after the other."""
    maps = folded_inputs(graph, data.arrays)
    return [{name: batch[image : image + 1] for name, batch in maps.items()} for image in range(len(data))]


def _first_inputs(graph: Graph, data: InputData, images: int) -> dict[str, BfpTensor]:
    """The input maps of the first images, quantized."""
    return stored_inputs(graph, _first_images(graph, data, images))


def _first_images(graph: Graph, data: InputData, images: int) -> dict[str, Array]:
    return {port.name: data.arrays[port.name][:images] for port in graph.inputs}


def make_vectors(graph: Graph, group: int, data: InputData) -> Vectors:
    """The first image for the C simulation, with what every layer must store."""
    inputs = _first_inputs(graph, data, 1)
    names = trace_names(graph)
    outputs = Emulator(graph, names, stored=True).run_stored(real_values(inputs))
    return Vectors(
        pack_maps(input_names(graph), first_image(inputs), group), pack_maps(names, first_image(outputs), group)
    )


def first_image(stored: Mapping[str, BfpTensor]) -> dict[str, BfpTensor]:
    return {name: of_image(maps, 0) for name, maps in stored.items()}
