"""The trips of the generated hardware's loops, beside those that the C simulation counts."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.layer_work import Tile
from bfpc.backend.program import Program, encode_program
from bfpc.backend.schedule import Schedule, layer_work, layer_works, make_schedule
from bfpc.backend.trips import layer_trips
from bfpc.backend.weight_image import WeightImage, pack_weights
from bfpc.ir.graph import Graph
from bfpc.numerics.format import BfpFormat
from tests.backend.graphs import ACTIVATION, ARCHITECTURE, WEIGHT, small_network
from tests.backend.hls_project import write_project
from tests.backend.layer_kinds import KINDS, layer_of

SMALL = replace(ARCHITECTURE, feature_depth=1024, accumulator_positions=256, weight_beats=64)
ARCHITECTURES = {
    "whole": SMALL,
    "digits": replace(SMALL, activation_bits=2, weight_bits=1),  # maps of int5 in two digits, weights of int4 in three
    "on chip": replace(SMALL, on_chip_words=1 << 12),
    "one group a vector": replace(SMALL, c_vec=32, feature_depth=4096, accumulator_positions=1024),
    # Records longer than a beat, of maps and weights.
    "wide": replace(
        SMALL,
        c_vec=128,
        k_vec=64,
        activation_bits=12,
        weight_bits=12,
        feature_bits=12,
        dense_weight_bits=12,
        depthwise_weight_bits=12,
        max_mantissa_bits=12,
        accumulator_bits=48,
    ),
}
WIDE = BfpFormat(12, 16, 7)
FORMATS = {"wide": (WIDE, BfpFormat(12, 16, 3))}  # of maps and weights


@pytest.fixture(scope="module", params=ARCHITECTURES)
def counting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An accelerator's name, and its C simulation that counts trips."""
    folder = write_project(ARCHITECTURES[request.param], tmp_path_factory.mktemp("counting"))
    subprocess.run(["make", "src/../csim_trips", "CXXFLAGS=-O1"], cwd=folder, check=True, capture_output=True)
    return request.param, folder


def counted_trips(folder: Path, program: Program, image: WeightImage) -> list[Counter[str]]:
    """Each layer's trips by function, of a map of zeros."""
    encode_program(program).tofile(folder / "program.bin")
    image.words.tofile(folder / "weights.bin")
    (folder / "vectors").mkdir(exist_ok=True)
    np.zeros(program.input_words, np.uint64).tofile(folder / "vectors" / "input.bin")
    ran = subprocess.run(
        ["make", "-s", "trips", "BUILD_FOLDER=.", "CXXFLAGS=-O1"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    trips: list[Counter[str]] = [Counter() for _ in program.layers]
    for layer, function, count in re.findall(r"^layer (\d+): (\w+) (\d+)$", ran.stdout, re.MULTILINE):
        trips[int(layer)][function] = int(count)
    return trips


def _agree(graph: Graph, name: str, folder: Path) -> Schedule:
    return assert_same_trips(graph, ARCHITECTURES[name], folder)


def assert_same_trips(graph: Graph, architecture: Architecture, folder: Path) -> Schedule:
    """Of every layer as it is scheduled."""
    image = pack_weights(graph, architecture)
    schedule = make_schedule(graph, architecture, image)
    counted = counted_trips(folder, schedule.program, image)
    programs = {layer.name: layer.program for layer in schedule.layers}
    trips = dict(zip(programs, counted, strict=True))
    for run, work in zip(graph.runs, layer_works(graph, architecture), strict=True):
        first = run[0].name
        assert dict(layer_trips(work, programs[first])) == dict(trips[first]), first
    return schedule


@pytest.mark.parametrize("kind", KINDS)
def test_every_loop_makes_as_many_trips_as_the_c_simulation_counts(counting: tuple[str, Path], kind: str) -> None:
    name, folder = counting
    _agree(layer_of(kind, *FORMATS.get(name, (ACTIVATION, WEIGHT))), name, folder)


@pytest.mark.parametrize("kind", ["dense", "pooled", "pooled in order", "residual", "residual of one position"])
def test_parts_of_the_channels_are_counted(counting: tuple[str, Path], kind: str) -> None:
    name, folder = counting
    graph = layer_of(kind, *FORMATS.get(name, (ACTIVATION, WEIGHT)))
    image = pack_weights(graph, ARCHITECTURES[name])
    schedule = make_schedule(graph, ARCHITECTURES[name], image)
    (node,), (layer,) = graph.layers, schedule.layers
    work = layer_work(graph, node, ARCHITECTURES[name], image.layers[node.name], schedule.memory)
    parts = len(work.channel_tiles)
    tile = Tile(layer.program.tile_height, layer.program.tile_width, parts)
    keeps = int(work.keeps_weights(tile))
    program = replace(layer.program, channel_parts=parts, part_channel_tiles=1, keeps_weights=keeps)
    in_parts = replace(schedule, layers=(replace(layer, program=program),))
    (trips,) = counted_trips(folder, in_parts.program, image)
    assert dict(layer_trips(work, program)) == dict(trips)


def test_every_layer_of_a_network_is_counted(counting: tuple[str, Path]) -> None:
    name, folder = counting
    schedule = _agree(small_network(), name, folder)
    assert any(layer.program.tiles_vertical > 1 for layer in schedule.layers)
