"""Maps that stream to depthwise layers: the C simulation stores what the emulator does, in the cycles counted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.encoding import encode_run
from bfpc.backend.feature_memory import FeatureLayout
from bfpc.backend.layer_work import LayerWork, Tile, buffers_used
from bfpc.backend.memory_plan import plan_memory
from bfpc.backend.program import Program, encode_program
from bfpc.backend.schedule import layer_works
from bfpc.backend.trace import input_names, pack_maps, trace_names, unpack_maps
from bfpc.backend.trips import layer_trips
from bfpc.backend.weight_image import WeightImage, pack_weights
from bfpc.emulator.session import Emulator, of_image, real_values
from bfpc.passes.stream_maps import stream_maps
from tests.backend.graphs import WIDEST
from tests.backend.hls_project import write_project
from tests.backend.layer_kinds import always
from tests.backend.test_trips import assert_same_trips, counted_trips
from tests.emulator.random_layers import Example, random_pair

PLAIN = replace(WIDEST, feature_depth=512, accumulator_positions=256, weight_beats=64)
ARCHITECTURES = {
    "plain": PLAIN,
    "digits": replace(PLAIN, activation_bits=4, weight_bits=3),
    "large window": replace(PLAIN, depthwise_window=5, weight_beats=0),
}
GROUP = PLAIN.k_vec
PAIRS = 40


@pytest.fixture(scope="module", params=ARCHITECTURES)
def simulation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Architecture, Path]:
    """An accelerator, and the folder of its C simulation."""
    architecture = ARCHITECTURES[request.param]
    folder = write_project(architecture, tmp_path_factory.mktemp("streamed"))
    flags = "CXXFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    subprocess.run(["make", "build", flags], cwd=folder, check=True, capture_output=True)
    subprocess.run(["make", "src/../csim_trips", "CXXFLAGS=-O1"], cwd=folder, check=True, capture_output=True)
    return architecture, folder


@pytest.mark.parametrize("seed", range(PAIRS))
def test_random_pairs_agree_in_bits_and_trips_whatever_the_tile(
    simulation: tuple[Architecture, Path], seed: int
) -> None:
    architecture, folder = simulation
    drawn = random_pair(seed, architecture.depthwise_window, (4, 8))
    pair = replace(drawn, graph=stream_maps(drawn.graph, architecture.depthwise_window, always))
    (work,) = layer_works(pair.graph, architecture)
    tiles = list(_tiles(work))
    tile = tiles[int(np.random.default_rng(seed).integers(len(tiles)))]
    (run,), memory = pair.graph.runs, plan_memory(pair.graph, architecture.k_vec)
    image = pack_weights(pair.graph, architecture)
    records = encode_run(pair.graph, run, work, tile, memory, image.layers)
    program = Program(records, memory.words, image.words.size, memory.input_words, memory.input_address)
    _assert_same_bits(pair, program, image, folder)
    assert layer_trips(work, records[0]) == counted_trips(folder, program, image)[0], f"{tile} {run}"


@pytest.mark.parametrize("seed", range(0, PAIRS, 4))
def test_random_filters_make_the_trips_that_are_counted(simulation: tuple[Architecture, Path], seed: int) -> None:
    architecture, folder = simulation
    graph = random_pair(seed, architecture.depthwise_window, (4, 8)).graph
    assert_same_trips(graph, architecture, folder)
    assert_same_trips(stream_maps(graph, architecture.depthwise_window, always), architecture, folder)


def _tiles(work: LayerWork) -> Iterator[Tile]:
    """All that fit the buffers, for all numbers of parts of the channels."""
    width, height = work.horizontal.output_size, work.vertical.output_size
    columns = [size for size in range(1, width) if _on_words(work.output, size)]
    for size in product(range(1, height + 1), (*columns, width)):
        if buffers_used(work, Tile(*size)).fit(work.architecture):
            yield from (Tile(*size, parts) for parts in range(1, len(work.channel_tiles) + 1))


def _on_words(output: FeatureLayout, columns: int) -> bool:
    """Whether tiles of so many columns begin at whole words."""
    return all(columns * output.record_bits(group) % 64 == 0 for group in range(output.groups))


def _assert_same_bits(pair: Example, program: Program, image: WeightImage, folder: Path) -> None:
    graph, names = pair.graph, trace_names(pair.graph)
    encode_program(program).tofile(folder / "program.bin")
    image.words.tofile(folder / "weights.bin")
    emulated = Emulator(graph, names, stored=True).run_stored(real_values(pair.inputs))
    for index in range(2):
        inputs = {name: of_image(maps, index) for name, maps in pair.inputs.items()}
        pack_maps(input_names(graph), inputs, GROUP).tofile(folder / "input.bin")
        files = ("program.bin", "weights.bin", "input.bin", "trace.bin")
        subprocess.run(["./csim", *files], cwd=folder, check=True, capture_output=True)
        words = np.fromfile(folder / "trace.bin", np.uint64)
        stored = unpack_maps(graph, names, words, GROUP)
        for name in names:
            expected = of_image(emulated[name], index)
            np.testing.assert_array_equal(stored[name].mantissas, expected.mantissas, f"{program}")
            np.testing.assert_array_equal(stored[name].offsets, expected.offsets, f"{program}")
