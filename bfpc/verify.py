"""Runs a build beside the original network: how far its values are, and whether the C simulation agrees to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bfpc.backend.bit_packing import Words
from bfpc.backend.build_folder import MANIFEST, Build
from bfpc.backend.trace import input_names, pack_maps, trace_names, unpack_maps
from bfpc.comparison import Comparison, ScorePair, Sums, Verification, measure
from bfpc.config import Config
from bfpc.config_sections import Verify
from bfpc.data import open_inputs
from bfpc.emulator.session import of_image, real_values, stored_inputs
from bfpc.errors import BuildError, DataError
from bfpc.ir.graph import Shape
from bfpc.ir.layout import Axes, onnx_shape, to_onnx
from bfpc.ir.stages import stage_count
from bfpc.labels import load_labels
from bfpc.measures import choose_measures
from bfpc.measures.scoring import Scoring
from bfpc.numerics.format import BfpTensor
from bfpc.progress import Progress, silent, step
from bfpc.runtime.devices import Device, StoredMaps, emulator_device
from bfpc.runtime.execution import Executor
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.host_tensors import random_tensors
from bfpc.runtime.opened import open_build
from bfpc.runtime.signature import Signature, Tensors, batch_indices, first_images, input_specs
from bfpc.runtime.simulation import build_simulation, run_simulation, write_sources

LAYOUTS: tuple[Axes, ...] = (
    *(("N", "C", "H", "W"), ("N", "H", "W", "C"), ("N", "CHW")),
    *(("N", "C", "W"), ("N", "W", "C"), ("N", "H", "W")),
)
SCALED = "layers are not compared: passes.equalize scaled their maps"
BITS_ALONE = "only the accelerator's bits are compared, where the host makes its inputs on random ones"


def verify(
    folder: Path,
    inputs: Path | None = None,
    *,
    labels: Path | None = None,
    metric: str | None = None,
    count: int | None = 8,
    csim: bool = False,
    watch: Callable[[StoredMaps], None] | None = None,
    trust: bool = False,
    progress: Progress = silent,
) -> Verification:
    """Verifies a build folder on at most `count` images of `inputs` (as in `compile_model`), None for all.

    labels: as in `load_labels`, for scores against them. metric: a function `module:name`, in place of the config's
    `measure.metric`. With `csim`, every tensor that a layer stores must be the same in the C simulation, in every bit.
    A build may be anybody's: functions that its config names are only called with `trust`. `watch` is called with what
    the accelerator stored of every batch. Where onnxruntime lacks an operator of the network, only bits can be
    compared. Raises a BfpcError where the build or the data is at fault.
    """
    opened = step(progress, "reading the build", lambda: open_build(folder))
    build, model, signature = opened.build, opened.original, opened.signature
    data = open_inputs(inputs, input_specs(signature, build.graph), build.config.preprocessing, count)
    if labels is not None and inputs is None:
        raise DataError("labels without inputs", where=str(labels), fix="give the images that they are of: --inputs")
    if not trust:
        _check_functions(build, metric)
    scoring = _open_scoring(build.config, metric, signature, labels, data.names)
    names = [node.name for node in build.graph.layers]
    emulator = step(progress, "preparing", lambda: emulator_device(build.graph, names))
    simulation = step(progress, "compiling the C++", lambda: _simulation(build)) if csim else None
    networks, warnings = _prepare(build, model, signature, emulator, scoring, bits_suffice=csim)
    difference: str | None = None
    for start in progress(range(0, len(data), signature.batch), "verifying"):
        images = range(start, min(start + signature.batch, len(data)))
        maps = networks.run(data.take(batch_indices(signature, start, len(data))), images)
        if watch is not None:
            watch(maps)
        if simulation is not None and difference is None:
            difference = _compare_bits(build, simulation, maps, len(images))
    outputs, layers = networks.results()
    scores = scoring.results()
    failures = (*_failures(outputs, build.config.verify), *_low_scores(scores, build.config.verify))
    return Verification(
        outputs=outputs,
        layers=layers,
        bit_exact=None if simulation is None else difference is None,
        failures=(*failures, *([difference] if difference else [])),
        warnings=(*data.warnings, *warnings),
        scores=scores,
        images=len(data),
    )


def _check_functions(build: Build, metric: str | None) -> None:
    """Raises BuildError where the build's own config names code that would run."""
    measuring = build.config.measure
    named = [measuring.detection.decode, *([measuring.metric] if metric is None else [])]
    if functions := [name for name in named if name is not None]:
        what = f"the build's config names Python code that would run: {', '.join(functions)}"
        fix = "give --trust if you know the build; a function of your own is named by --metric"
        raise BuildError(what, where=str(build.folder / MANIFEST), fix=fix)


def _open_scoring(
    config: Config, metric: str | None, signature: Signature, labels: Path | None, names: Sequence[str]
) -> Scoring:
    """Scores of the images `names`, as the config says, or by `metric`."""
    if metric is not None:
        config = config.model_copy(update={"measure": config.measure.model_copy(update={"metric": metric})})
    truth = None if labels is None else load_labels(labels, names)
    return Scoring(choose_measures(config, signature, truth), truth)


def _prepare(
    build: Build,
    model: onnx.ModelProto,
    signature: Signature,
    emulator: Device[BfpTensor],
    scoring: Scoring,
    *,
    bits_suffice: bool,
) -> tuple[_Networks | _AcceleratorAlone, tuple[str, ...]]:
    """What is run on every batch, and warnings. Raises BuildError where that would leave nothing to compare."""
    scaled = (SCALED,) if build.config.passes.equalize else ()
    try:
        return _Networks(build, model, signature, emulator, scoring), scaled
    except BuildError as error:
        if not bits_suffice:
            raise
        return _AcceleratorAlone(build, signature, emulator), (f"{error.what}; {BITS_ALONE}",)


class _Networks:
    """The original network and the build, side by side, and what their comparison found so far."""

    def __init__(
        self,
        build: Build,
        model: onnx.ModelProto,
        signature: Signature,
        emulator: Device[BfpTensor],
        scoring: Scoring,
    ) -> None:
        """Raises BuildError where onnxruntime cannot run the network."""
        self._scoring = scoring
        self._executor = Executor(build.graph, build.host, emulator, str(build.folder))
        self._graph, self._signature = build.graph, signature
        made = {name for node in model.graph.node for name in node.output}
        self._outputs = [info.name for info in signature.outputs]
        comparable = () if build.config.passes.equalize else build.graph.layers
        self._layers = [node.name for node in comparable if node.name in made]
        added = [onnx.ValueInfoProto(name=name) for name in self._layers if name not in self._outputs]
        model.graph.output.extend(added)
        self._original = open_host_model(model.SerializeToString(), (), str(build.model))
        self._found: dict[str, dict[str, Sums]] = {"outputs": {}, "layers": {}}

    def run(self, feeds: Tensors, images: range) -> StoredMaps:
        """Runs and compares a batch, which begins with `images`; only they count. Returns the build's maps."""
        expected = self._original.run(feeds)
        execution = self._executor.run(feeds)
        reference, outputs = (
            {name: first_images(self._signature, tensors[name], len(images)) for name in self._outputs}
            for tensors in (expected, execution.tensors)
        )
        for name in self._outputs:
            self._compare("outputs", name, reference[name], outputs[name])
        self._scoring.add(outputs, reference, images)
        for name in self._layers:
            axes = _find_axes(expected[name].shape, self._graph.value(name).shape)
            if axes is not None:
                real = real_values({name: execution.maps[name]})[name]
                tensors = (expected[name], to_onnx(real, axes))
                self._compare("layers", name, *(first_images(self._signature, each, len(images)) for each in tensors))
        return execution.maps

    def _compare(self, kind: str, name: str, expected: NDArray[Any], found: NDArray[Any]) -> None:
        totals = self._found[kind]
        measured = measure(expected, found)
        totals[name] = totals[name] + measured if name in totals else measured

    def results(self) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
        """The comparisons of the outputs, and of the layers."""
        outputs = [total.comparison(name) for name, total in self._found["outputs"].items()]
        layers = [total.comparison(name) for name, total in self._found["layers"].items()]
        return tuple(outputs), tuple(replace(layer, top1_agreement=None) for layer in layers)


class _AcceleratorAlone:
    """The accelerator of a network that cannot be run, with random numbers for what the host would make."""

    def __init__(self, build: Build, signature: Signature, emulator: Device[BfpTensor]) -> None:
        self._graph, self._batch, self._emulator = build.graph, signature.batch, emulator

    def run(self, feeds: Tensors, images: range) -> StoredMaps:
        """The build's maps of a batch, whichever `images` of it count."""
        del images
        missing = [port for port in self._graph.inputs if port.name not in feeds]
        maps = stored_inputs(self._graph, {**feeds, **random_tensors(self._graph, missing, self._batch)})
        for stage in range(stage_count(self._graph)):
            maps |= self._emulator.run(stage, maps)
        return maps

    def results(self) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
        """Nothing was compared with the original network."""
        return (), ()


def _find_axes(shape: Sequence[int], map_shape: Shape) -> Axes | None:
    """The layout in which a tensor of `shape`, batch first, is a map of `map_shape`; None if it is none."""
    if np.prod(shape[1:]) != np.prod(map_shape):
        return None
    return next((axes for axes in LAYOUTS if tuple(shape[1:]) == onnx_shape(axes, map_shape)[1:]), None)


def _simulation(build: Build) -> tuple[Path, Path]:
    """The folder that the C simulation is made in and run on, and its executable."""
    sources = write_sources(build)
    return sources, build_simulation(sources)


def _compare_bits(build: Build, simulation: tuple[Path, Path], maps: StoredMaps, images: int) -> str | None:
    """Where the C simulation first differs from what the emulator stored of a batch."""
    for index in range(images):
        expected = {name: of_image(tensor, index) for name, tensor in maps.items()}
        words = pack_maps(input_names(build.graph), expected, build.group)
        difference = find_difference(build, expected, run_simulation(*simulation, words))
        if difference is not None:
            return difference
    return None


def _failures(outputs: Sequence[Comparison], demanded: Verify) -> list[str]:
    """Where the outputs fall short of the config's thresholds."""
    failures = []
    for output in outputs:
        if demanded.min_sqnr_db is not None and output.sqnr_db is not None and output.sqnr_db < demanded.min_sqnr_db:
            failures.append(f"output {output.name} has {output.sqnr_db:.1f} dB, {demanded.min_sqnr_db:g} are demanded")
        agreement, least = output.top1_agreement, demanded.min_top1_agreement
        if least is not None and agreement is not None and agreement < least:
            failures.append(f"output {output.name} agrees in {agreement:.1%} of the images, {least:.1%} are demanded")
    if demanded.min_top1_agreement is not None and all(output.top1_agreement is None for output in outputs):
        failures.append("min_top1_agreement is demanded, but no output holds class scores")
    return failures


def _low_scores(scores: Sequence[ScorePair], demanded: Verify) -> list[str]:
    """Where scores fall short of the config's `min_score`."""
    found = {pair.build.name: pair.build.value for pair in scores}
    measured = f"measured were {', '.join(found)}" if found else "nothing was measured"
    missing = [f"{name} is demanded, but {measured}" for name in demanded.min_score if name not in found]
    low = [
        f"{name} is {found[name]:.4g}, {least:g} are demanded"
        for name, least in demanded.min_score.items()
        if name in found and found[name] < least
    ]
    return missing + low


def find_difference(build: Build, expected: Mapping[str, BfpTensor], words: Words) -> str | None:
    """Where the C simulation's words first differ from what the emulator stored, in the order of the layers."""
    names = trace_names(build.graph)
    wanted = pack_maps(names, expected, build.group)
    if np.array_equal(wanted, words):
        return None
    if len(wanted) != len(words):
        return f"the C simulation stored {len(words)} words, the emulator {len(wanted)}"
    simulated = unpack_maps(build.graph, names, words, build.group)
    for name in names:
        for part in ("mantissas", "offsets"):
            ours, theirs = getattr(expected[name], part), getattr(simulated[name], part)
            if not np.array_equal(ours, theirs):
                place = tuple(int(index) for index in np.argwhere(ours != theirs)[0])
                what = f"{part} at {place} are {theirs[place]} in the C simulation, {ours[place]} in the emulator"
                return f"layer {name} differs: {what}"
    return "the C simulation's padding differs from zero"
