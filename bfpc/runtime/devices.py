"""What computes the accelerator's layers: the emulator, the C simulation, or a board.

Maps are as they are stored, or the real numbers that they stand for. All have a batch in front.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from bfpc.backend.bit_packing import Words
from bfpc.backend.build_folder import Build
from bfpc.backend.feature_memory import unpack
from bfpc.backend.memory_plan import feature_layout
from bfpc.backend.trace import input_names, pack_maps, trace_names, unpack_maps
from bfpc.emulator.session import Emulator, Maps, of_image, real_values, stored_inputs
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Channels
from bfpc.ir.stages import crossing_layers, stage_count, stage_graph
from bfpc.numerics.format import BfpTensor
from bfpc.runtime.signature import Tensors
from bfpc.runtime.simulation import build_simulation, run_simulation, write_sources

StoredMaps = Mapping[str, BfpTensor]
Map = TypeVar("Map")
Runner = Callable[[Mapping[str, Maps]], dict[str, Maps]]
Write = Callable[[Graph, Tensors], dict[str, Map]]
# What runs an image on a board: the words of its input maps, and how many layers; the feature memory after these.
BoardRun = Callable[[Words, int], Words]


@dataclass(frozen=True)
class Device(Generic[Map]):
    """What it does with maps of the type `Map`.

    write: the input maps of a graph, from ONNX tensors.
    run: the maps that a stage makes, from the maps known so far.
    read: the real numbers of a map, from the maps known so far.
    """

    write: Write[Map]
    run: Callable[[int, Mapping[str, Map]], dict[str, Map]]
    read: Callable[[str, Mapping[str, Map]], Maps]


def stored_device(graph: Graph, run: Callable[[int, StoredMaps], dict[str, BfpTensor]]) -> Device[BfpTensor]:
    """A device on stored maps, of which `run` makes those of layers."""
    return Device(stored_inputs, run, lambda name, maps: real_values({name: find_map(graph, name, maps)})[name])


def real_device(graph: Graph, write: Write[Maps], prepare: Callable[[Graph, Sequence[str]], Runner]) -> Device[Maps]:
    """A device on real maps. prepare: makes a graph ready to run for some of its values."""
    parts = [stage_graph(graph, stage) for stage in range(stage_count(graph))]
    read = {port.value for port in graph.outputs} | {value.name for part in parts for value in part.values}
    runners = [prepare(part, [node.name for node in part.nodes if node.name in read]) for part in parts]
    return Device(write, lambda stage, maps: runners[stage](maps), lambda name, maps: maps[name])


def find_map(graph: Graph, name: str, maps: StoredMaps) -> BfpTensor:
    """A map, from the parts that lie in the feature memory where it joins several or is some channels of another."""
    if name in maps:
        return maps[name]
    node = graph.producer(name)
    assert node is not None, f"nothing stores {name}"
    parts = [find_map(graph, part, maps) for part in node.inputs.values()]
    if isinstance(node.op, Channels):
        [whole], size = parts, parts[0].format.block_size
        blocks = slice(node.op.start // size, -(-node.op.stop // size))
        return BfpTensor(whole.format, whole.mantissas[:, node.op.start : node.op.stop], whole.offsets[:, blocks])
    mantissas = np.concatenate([part.mantissas for part in parts], axis=1)
    return BfpTensor(graph.format(name), mantissas, np.concatenate([part.offsets for part in parts], axis=1))


def emulator_device(graph: Graph, layers: Collection[str] | None = None) -> Device[BfpTensor]:
    """The emulator, which hands out the maps of `layers`; None for those that are read outside their stage."""
    wanted = crossing_layers(graph) if layers is None else layers
    parts = [stage_graph(graph, stage) for stage in range(stage_count(graph))]
    outputs = [[node.name for node in part.layers if node.name in wanted] for part in parts]
    emulators = [Emulator(part, names, stored=True) for part, names in zip(parts, outputs, strict=True)]

    def emulate(stage: int, maps: StoredMaps) -> dict[str, BfpTensor]:
        known = {value.name: find_map(graph, value.name, maps) for value in parts[stage].values}
        return emulators[stage].run_stored(real_values(known))

    return stored_device(graph, emulate)


def simulation_device(build: Build) -> Device[BfpTensor]:
    """The C simulation, which for each image runs all layers up to a stage.

    Raises BuildError where it cannot be built.
    """
    sources, graph, stages = write_sources(build), build.graph, build.graph.stages
    executable = build_simulation(sources)
    layers = trace_names(graph)

    def simulate(stage: int, maps: StoredMaps) -> dict[str, BfpTensor]:
        known = [name for name in layers if stages[name] <= stage]
        count = None if len(known) == len(layers) else _layers_until(graph, stage)
        images = [
            unpack_maps(graph, known, run_simulation(sources, executable, words, count), build.group)
            for words in _input_words(build, maps)
        ]
        return {name: _batch([image[name] for image in images]) for name in known if stages[name] == stage}

    return stored_device(graph, simulate)


def board_device(build: Build, run: BoardRun) -> Device[BfpTensor]:
    """A board, which for each image runs all layers up to a stage; what the host reads of it stays in its memory."""
    graph, stages = build.graph, build.graph.stages
    addresses = {port["map"]: int(port["address"]) for port in build.manifest["outputs"]}

    def compute(stage: int, maps: StoredMaps) -> dict[str, BfpTensor]:
        made = [name for name in addresses if stages[name] == stage]
        count = _layers_until(graph, stage)
        images = [
            {name: _unpacked(build, name, memory[addresses[name] :]) for name in made}
            for memory in (run(words, count) for words in _input_words(build, maps))
        ]
        return {name: _batch([image[name] for image in images]) for name in made}

    return stored_device(graph, compute)


def _layers_until(graph: Graph, stage: int) -> int:
    """The layers of the stages up to this one."""
    stages = graph.stages
    return sum(stages[node.name] <= stage for node in graph.layers)


def _unpacked(build: Build, name: str, words: Words) -> BfpTensor:
    layout = feature_layout(build.graph, name, build.group)
    return unpack(words[: layout.words], layout.shape, layout.format, build.group)


def _input_words(build: Build, maps: StoredMaps) -> Iterator[Words]:
    """For each image the words of all input maps; those that the host makes only later are zeros."""
    graph, names = build.graph, input_names(build.graph)
    for image in range(len(next(iter(maps.values())).mantissas)):
        inputs = {name: of_image(maps[name], image) if name in maps else _zeros(graph, name) for name in names}
        yield pack_maps(names, inputs, build.group)


def _batch(images: list[BfpTensor]) -> BfpTensor:
    mantissas = np.stack([image.mantissas for image in images])
    return BfpTensor(images[0].format, mantissas, np.stack([image.offsets for image in images]))


def _zeros(graph: Graph, name: str) -> BfpTensor:
    (channels, height, width), format = graph.value(name).shape, graph.format(name)
    blocks = -(-channels // format.block_size)
    mantissas, offsets = np.zeros((channels, height, width), np.int16), np.zeros((blocks, height, width), np.uint8)
    return BfpTensor(format, mantissas, offsets)
