"""Sensitivity: the noise at the network's outputs when one tensor alone is quantized, everything else float.

Noise is its power over the signal's, averaged over the accelerator's outputs. A job measures one value: the map itself,
and the weights of the layer that makes it. Only what lies downstream of the value is run, on cached float activations;
one emulator session serves all formats of the value, since all of them change nothing but it.

Noise at the outputs is nearly proportional to that of the value itself. Measured at the outputs are therefore the
formats with the least and with the most noise; between them the gain from the value to the outputs is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from bfpc.emulator.session import Emulator, Maps
from bfpc.ir.graph import Constant, Graph, Node, Port
from bfpc.ir.operators import Conv, Depthwise
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.quantize import dequantize, quantize, quantize_depthwise, quantize_weights
from bfpc.passes.calibrate import mean_sum, tap_means

CACHED_ELEMENTS = 1 << 27  # of all maps of all images together, in a worker's memory
MAP_AXES = ("N", "C", "H", "W")

Noises = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What is measured: a float network on the maps of some images.

    corrects_bias: whether biases take over what quantized weights take from a layer's mean, as in a build.
    """

    graph: Graph
    inputs: Mapping[str, Maps]
    corrects_bias: bool


@dataclass(frozen=True)
class Question:
    """The formats of which the noise is wanted: of a map, and of the weights of the layer that makes it."""

    value: str
    maps: tuple[BfpFormat, ...]
    weights: tuple[BfpFormat, ...]


@dataclass(frozen=True)
class Answer:
    """The noise at the network's outputs of each format asked for."""

    value: str
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
    graph, name = subject.graph, question.value
    downstream = _Downstream(graph, name, floats)
    maps = [dequantize(*quantize(floats[name], format), format) for format in question.maps]
    weights = [_with_weights(subject, name, floats, format) for format in question.weights]
    return Answer(name, tuple(_noises(downstream, maps)), tuple(_noises(downstream, weights)))


def _noises(downstream: _Downstream, changed: Sequence[Maps]) -> list[float]:
    """The noise at the outputs that each changed map makes there."""
    if not changed:
        return []
    local = np.array([downstream.local_noise(maps) for maps in changed])
    ends = {int(local.argmin()), int(local.argmax())}
    measured = {index: downstream.noise(changed[index]) for index in ends}
    return [measured.get(index, _between(local, measured, index)) for index in range(len(changed))]


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

    def local_noise(self, maps: Maps) -> float:
        return relative_noise(self._floats[self._name], maps)

    def noise(self, maps: Maps) -> float:
        """At the network's outputs, where the value is `maps`."""
        feeds = {**self._floats, self._name: maps}
        found = self._emulator.run(feeds) if self._emulator else feeds
        return sum(relative_noise(maps, found[name]) for name, maps in self._outputs.items()) / self._all


def relative_noise(expected: Maps, found: Maps) -> float:
    """The power of the difference over that of what is expected; of a map of zeros the difference's own."""
    signal = float(np.square(expected, dtype=np.float64).sum())
    return float(np.square(found - expected, dtype=np.float64).sum()) / (signal or 1.0)


def _with_weights(subject: Subject, name: str, floats: Mapping[str, Maps], format: BfpFormat) -> Maps:
    """What a layer makes of float maps with quantized weights."""
    node = subject.graph.producer(name)
    assert node is not None
    assert isinstance(node.op, Conv | Depthwise)
    weight = subject.graph.array(node.inputs["weight"])
    convert = quantize_depthwise if isinstance(node.op, Depthwise) else quantize_weights
    quantized = BfpTensor(format, *convert(weight, format)).real.astype(np.float32)
    constants: dict[str, Constant] = {**subject.graph.constants, "quantized": quantized}
    inputs = {**node.inputs, "weight": "quantized"}
    if subject.corrects_bias:
        taps = tap_means(subject.graph, node, floats[node.inputs["x"]])
        bias = subject.graph.array(node.inputs["bias"]) if "bias" in node.inputs else 0.0
        constants["corrected"] = (bias + mean_sum(node, weight - quantized, taps)).astype(np.float32)
        inputs["bias"] = "corrected"
    return run_layer(subject.graph, replace(node, inputs=inputs), constants, floats)


def run_layer(graph: Graph, node: Node, constants: Mapping[str, Constant], maps: Mapping[str, Maps]) -> Maps:
    """The output of one float layer by itself."""
    sources = tuple(graph.value(name) for name in dict.fromkeys(node.inputs.values()) if graph.is_value(name))
    own = {name: constants[name] for name in node.inputs.values() if name in constants}
    single = Graph(node.name, sources, (node,), own, (), (Port(node.name, node.name, MAP_AXES),))
    return Emulator(single, [node.name]).run({value.name: maps[value.name] for value in sources})[node.name]
