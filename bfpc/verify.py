"""Runs a build beside the original network: how far its values are, and whether the C simulation agrees to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from bfpc.backend.bit_packing import Words
from bfpc.backend.build_folder import Build, read_build
from bfpc.backend.trace import input_names, pack_maps, trace_names, unpack_maps
from bfpc.comparison import Comparison, Measure, Verification, measure
from bfpc.config import Verify
from bfpc.data import load_inputs
from bfpc.emulator.session import Emulator, open_session, real_values, stored_inputs
from bfpc.ir.graph import Shape
from bfpc.ir.layout import Axes, onnx_shape, to_onnx
from bfpc.numerics.format import BfpTensor
from bfpc.pipeline import first_image, input_specs
from bfpc.progress import Progress, silent, step
from bfpc.simulation import build_simulation, run_simulation

Tensors = Mapping[str, NDArray[Any]]
LAYOUTS: tuple[Axes, ...] = (("N", "C", "H", "W"), ("N", "H", "W", "C"), ("N", "CHW"))
ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def verify(
    folder: Path, inputs: Path | None = None, *, count: int = 8, csim: bool = False, progress: Progress = silent
) -> Verification:
    """Verifies a build folder on at most `count` images of `inputs` (as in `compile_model`).

    With `csim`, every tensor that a layer stores must be the same in the C simulation, in every bit. Raises a
    BfpcError where the build or the data is at fault.
    """
    build = step(progress, "reading the build", lambda: read_build(folder))
    data = load_inputs(inputs, input_specs(build.graph), build.config.preprocessing, count)
    runner = step(progress, "preparing", lambda: _Runner(build))
    simulation = step(progress, "compiling the C++", lambda: build_simulation(folder)) if csim else None
    layers: dict[str, Measure] = {}
    outputs: dict[str, Measure] = {}
    difference: str | None = None
    for image in progress(range(len(data)), "verifying"):
        feeds = {name: array[image : image + 1] for name, array in data.arrays.items()}
        reference = runner.original(feeds)
        source, stored = runner.emulated(feeds)
        maps = real_values(stored)
        for name, axes in runner.layer_axes.items():
            _add(layers, name, reference[name], to_onnx(maps[name], axes))
        for name, tensor in runner.outputs(maps).items():
            _add(outputs, name, reference[name], tensor)
        if simulation is not None and difference is None:
            words = pack_maps(input_names(build.graph), first_image(source), build.group)
            difference = find_difference(build, first_image(stored), run_simulation(folder, simulation, words))
    compared = tuple(total.comparison(name) for name, total in outputs.items())
    return Verification(
        outputs=compared,
        layers=tuple(replace(total.comparison(name), top1_agreement=None) for name, total in layers.items()),
        bit_exact=None if simulation is None else difference is None,
        failures=(*_failures(compared, build.config.verify), *([difference] if difference else [])),
        warnings=data.warnings,
    )


class _Runner:
    """The original network and the emulated build, made ready to run.

    layer_axes: the layers whose maps the original network has under the same name, and how it lays them out.
    """

    def __init__(self, build: Build) -> None:
        self._graph = build.graph
        self._emulator = Emulator(build.graph, trace_names(build.graph), stored=True)
        self._epilogue = None if build.epilogue is None else open_session(build.epilogue.read_bytes())
        model = onnx.load(build.model)
        made = {name for node in model.graph.node for name in node.output}
        outputs = {value.name for value in model.graph.output}
        layers = [node.name for node in build.graph.layers if node.name in made]
        compared = dict.fromkeys([*layers, *(port.name for port in build.graph.outputs)])
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in compared if name not in outputs)
        self._original = open_session(model.SerializeToString())
        shapes = {value.name: value.shape for value in self._original.get_outputs()}
        axes = {name: _find_axes(shapes[name], build.graph.value(name).shape) for name in layers}
        self.layer_axes = {name: found for name, found in axes.items() if found is not None}

    def original(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Every layer's tensor, and the outputs, of the original network for one image."""
        outputs = [value.name for value in self._original.get_outputs()]
        inputs = {value.name: _as_declared(feeds[value.name], value) for value in self._original.get_inputs()}
        results = self._original.run(outputs, inputs)
        return {name: result[:1] for name, result in zip(outputs, results, strict=True)}

    def emulated(self, feeds: Tensors) -> tuple[dict[str, BfpTensor], dict[str, BfpTensor]]:
        """The input maps as stored, and what every layer stores."""
        inputs = stored_inputs(self._graph, feeds)
        return inputs, self._emulator.run_stored(real_values(inputs))

    def outputs(self, maps: Tensors) -> dict[str, NDArray[Any]]:
        """The network's outputs from the layers' real values, those that the host computes included."""
        tensors = {port.name: to_onnx(self._value(port.value, maps), port.axes) for port in self._graph.outputs}
        if self._epilogue is not None:
            names = [value.name for value in self._epilogue.get_outputs()]
            feeds = {value.name: _as_declared(tensors[value.name], value) for value in self._epilogue.get_inputs()}
            tensors |= dict(zip(names, self._epilogue.run(names, feeds), strict=True))
        return tensors

    def _value(self, name: str, maps: Tensors) -> NDArray[Any]:
        """A layer's map, or several joined."""
        if name in maps:
            return maps[name]
        joined = self._graph.producer(name)
        assert joined is not None
        return np.concatenate([self._value(part, maps) for part in joined.inputs.values()], axis=1)


def _as_declared(tensor: NDArray[Any], value: ort.NodeArg) -> NDArray[Any]:
    """One image in the element type and the batch size that a session declares for an input."""
    batch = value.shape[0] if value.shape and isinstance(value.shape[0], int) else 1
    cast = tensor.astype(ELEMENT_TYPES[value.type])
    return cast if len(cast) == batch else np.repeat(cast, batch, axis=0)


def _find_axes(shape: Sequence[int | str], map_shape: Shape) -> Axes | None:
    """The layout in which a tensor of `shape`, batch first, is a map of `map_shape`; None if it is none."""
    return next((axes for axes in LAYOUTS if tuple(shape[1:]) == onnx_shape(axes, map_shape)[1:]), None)


def _add(totals: dict[str, Measure], name: str, expected: NDArray[Any], found: NDArray[Any]) -> None:
    measured = measure(expected, found)
    totals[name] = totals[name] + measured if name in totals else measured


def _failures(outputs: Sequence[Comparison], demanded: Verify) -> list[str]:
    """Where the outputs fall short of the config's thresholds."""
    failures = []
    for output in outputs:
        if demanded.min_sqnr_db is not None and output.sqnr_db < demanded.min_sqnr_db:
            failures.append(f"output {output.name} has {output.sqnr_db:.1f} dB, {demanded.min_sqnr_db:g} are demanded")
        agreement, least = output.top1_agreement, demanded.min_top1_agreement
        if least is not None and agreement is not None and agreement < least:
            failures.append(f"output {output.name} agrees in {agreement:.1%} of the images, {least:.1%} are demanded")
    if demanded.min_top1_agreement is not None and all(output.top1_agreement is None for output in outputs):
        failures.append("min_top1_agreement is demanded, but no output holds class scores")
    return failures


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
