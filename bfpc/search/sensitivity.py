"""Sensitivity: the noise at the network's outputs when one tensor alone is quantized, everything else float.

Noise is its power over the signal's, averaged over the accelerator's outputs. A job measures one value: the map itself,
and the weights of the layer that makes it. Only what lies downstream of the value is run, on cached float activations;
one emulator session serves all formats of the value, since all of them change nothing but it.

Noise at the outputs is nearly proportional to that of the value itself. Run to the outputs are therefore only the
formats with the least, the median and the most noise, weights as the passes leave them that make up for rounding.
Between these the gain from plain rounding at the value to the outputs is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.config_sections import Passes
from bfpc.emulator.session import Emulator, Maps
from bfpc.ir.graph import Graph, Node, Port
from bfpc.ir.operators import Depthwise
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.quantize import dequantize, quantize, quantize_depthwise, quantize_weights
from bfpc.passes.compensate_rounding import compensate_dense, compensate_depthwise, rows_wanted
from bfpc.passes.correct_bias import corrected_bias, mean_sums
from bfpc.passes.filter_taps import patches
from bfpc.passes.quantize_weights import offsets_rule

CACHED_ELEMENTS = 1 << 27  # of all maps of all images together, in a worker's memory
LOCAL_ROWS = 512  # positions at which the noise of rounded weights is seen at the layer itself
MAP_AXES = ("N", "C", "H", "W")

Noises = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What is measured: a float network on the maps of some images.

    passes: those that make up for what quantized weights lose, as in a build.
    """

    graph: Graph
    inputs: Mapping[str, Maps]
    passes: Passes


@dataclass(frozen=True)
class Question:
    """The formats of which the noise is wanted: of a map, and of the weights of the layer that makes it.

    layer: that layer as text; empty for an input of the network.
    """

    value: str
    maps: tuple[BfpFormat, ...]
    weights: tuple[BfpFormat, ...]
    layer: str = ""


@dataclass(frozen=True)
class Answer:
    """The noise at the network's outputs of each format asked for."""

    maps: tuple[float, ...]
    weights: tuple[float, ...]


def cached_images(graph: Graph, images: int) -> int:
    """How many of the images to measure on: as many as memory holds; large maps have many positions and need few."""
    elements = sum(prod(value.shape) for value in (*graph.values, *(node.output for node in graph.nodes)))
    return max(1, min(images, CACHED_ELEMENTS // elements))


def open_sensitivity(subject: Subject) -> Callable[[Question], Answer]:
    """Runs the float network once; what it returns answers one question after another."""
    graph = subject.graph
    names = [node.name for node in graph.nodes]
    floats = {**subject.inputs, **Emulator(graph, names).run(subject.inputs)}
    return partial(_answer, subject, floats)


def _answer(subject: Subject, floats: Mapping[str, Maps], question: Question) -> Answer:
    downstream = _Downstream(subject.graph, question.value, floats)
    clean = floats[question.value]
    maps = [dequantize(*quantize(clean, format), format) for format in question.maps]
    of_maps = _noises(downstream, [relative_noise(clean, each) for each in maps], lambda index: maps[index])
    if not question.weights:
        return Answer(of_maps, ())
    layer = _Layer.of(subject, question.value, floats)
    rounded = [layer.rounding_noise(format) for format in question.weights]
    return Answer(of_maps, _noises(downstream, rounded, lambda index: layer.with_recovered(question.weights[index])))


def _noises(downstream: _Downstream, local: Sequence[float], changed: Callable[[int], Maps]) -> tuple[float, ...]:
    """The noise at the outputs of each format.

    local: that at the value itself, plainly rounded, in any unit; changed: the value in the format of an index.
    """
    if not local:
        return ()
    order = np.argsort(local, kind="stable")
    measured = {
        int(index): downstream.noise(changed(int(index))) for index in {order[0], order[len(order) // 2], order[-1]}
    }
    return tuple(measured.get(index, _between(np.array(local), measured, index)) for index in range(len(local)))


def _between(local: Noises, measured: Mapping[int, float], index: int) -> float:
    """A noise by the gains of those measured, as a power law of the noise at the value."""
    known = sorted(measured, key=lambda end: local[end])
    gains = [measured[end] / local[end] if local[end] else 0.0 for end in known]
    if not local[index] or len(known) == 1 or min(gains) <= 0:
        return float(local[index] * gains[-1])
    steps = np.log(local[known])
    return float(local[index] * np.exp(np.interp(np.log(local[index]), steps, np.log(gains))))


class _Downstream:
    """The part of a network that a value reaches, ready to run on other maps of that value."""

    def __init__(self, graph: Graph, name: str, floats: Mapping[str, Maps]) -> None:
        reached, nodes = {name}, []
        for node in graph.nodes:
            if reached & set(node.inputs.values()):
                reached.add(node.name)
                nodes.append(node)
        made = {node.name for node in nodes}
        read = {source for node in nodes for source in node.inputs.values() if graph.is_value(source)}
        sources = tuple(graph.value(source) for source in sorted((read | {name}) - made))
        self._name, self._floats = name, {value.name: floats[value.name] for value in sources}
        self._outputs = {output: floats[output] for output in sorted(graph.output_names & reached)}
        self._all = len(graph.output_names)
        ports = tuple(Port(output, output, MAP_AXES) for output in self._outputs)
        part = Graph(graph.name, sources, tuple(nodes), graph.constants, (), ports).pruned()
        self._emulator = Emulator(part, list(self._outputs)) if nodes else None

    def noise(self, maps: Maps) -> float:
        """At the network's outputs, where the value is `maps`."""
        feeds = {**self._floats, self._name: maps}
        found = self._emulator.run(feeds) if self._emulator else feeds
        return sum(relative_noise(maps, found[name]) for name, maps in self._outputs.items()) / self._all


def relative_noise(expected: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """The power of the difference over that of what is expected; of a map of zeros the difference's own."""
    signal = float(np.square(expected, dtype=np.float64).sum())
    return float(np.square(found - expected, dtype=np.float64).sum()) / (signal or 1.0)


@dataclass(frozen=True)
class _Layer:
    """A layer that reads float maps. seen: what its filter sees of them at some positions, as `patches` gives it."""

    subject: Subject
    node: Node
    floats: Mapping[str, Maps]
    seen: Maps

    @staticmethod
    def of(subject: Subject, name: str, floats: Mapping[str, Maps]) -> _Layer:
        graph, node = subject.graph, subject.graph.producer(name)
        assert node is not None
        compensates = subject.passes.compensate_rounding
        rows = rows_wanted(graph.array(node.inputs["weight"])[0].size) if compensates else LOCAL_ROWS
        return _Layer(subject, node, floats, patches(graph, node, floats[node.inputs["x"]], rows))

    @property
    def weight(self) -> NDArray[Any]:
        return self.subject.graph.array(self.node.inputs["weight"])

    def rounding_noise(self, format: BfpFormat) -> float:
        """The power of the error of the layer's sums with plainly rounded weights."""
        error = (self.weight - self._rounded(format)).astype(np.float32)
        seen = self.seen[:: max(1, len(self.seen) // LOCAL_ROWS)]
        if isinstance(self.node.op, Depthwise):
            sums = np.einsum("rtc,ct->rc", seen, error.reshape(len(error), -1))
        else:
            sums = seen.reshape(len(seen), -1) @ error.transpose(2, 3, 1, 0).reshape(-1, len(error))
        return float(np.square(sums, dtype=np.float64).sum())

    def with_recovered(self, format: BfpFormat) -> Maps:
        """What the layer makes with weights and bias as the passes leave them."""
        weight = self._compensated(format)
        if not self.subject.passes.correct_bias:
            return self._run(weight=weight)
        graph, node = self.subject.graph, self.node
        bias = graph.array(node.inputs["bias"]) if "bias" in node.inputs else np.zeros(node.output.shape[0])
        missing = mean_sums(graph, node, self.weight - weight, self.floats[node.inputs["x"]])

        def run(tried: NDArray[np.float32]) -> Maps:
            return self._run(weight=weight, bias=tried)

        return run(corrected_bias(bias, missing, self.floats[node.name], run))

    def _rounded(self, format: BfpFormat) -> Maps:
        convert = quantize_depthwise if isinstance(self.node.op, Depthwise) else quantize_weights
        stored = convert(self.weight, format, offsets_rule(self.subject.passes))
        return BfpTensor(format, *stored).real.astype(np.float32)

    def _compensated(self, format: BfpFormat) -> Maps:
        if not self.subject.passes.compensate_rounding:
            return self._rounded(format)
        compensate = compensate_depthwise if isinstance(self.node.op, Depthwise) else compensate_dense
        found = compensate(self.weight, format, self.seen, offsets_rule(self.subject.passes))
        return self._rounded(format) if found is None else found.real.astype(np.float32)

    def _run(self, **changed: Maps) -> Maps:
        return _run_layer(self.subject.graph, self.node, changed, self.floats)


def _run_layer(graph: Graph, node: Node, changed: Mapping[str, NDArray[np.float32]], maps: Mapping[str, Maps]) -> Maps:
    """The output of one float layer by itself, with other constants for some of its roles."""
    node = replace(node, inputs={**node.inputs, **{role: f"changed.{role}" for role in changed}})
    constants = {**graph.constants, **{f"changed.{role}": array for role, array in changed.items()}}
    sources = tuple(graph.value(name) for name in dict.fromkeys(node.inputs.values()) if graph.is_value(name))
    own = {name: constants[name] for name in node.inputs.values() if name in constants}
    single = Graph(node.name, sources, (node,), own, (), (Port(node.name, node.name, MAP_AXES),))
    return Emulator(single, [node.name]).run({value.name: maps[value.name] for value in sources})[node.name]
