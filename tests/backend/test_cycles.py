"""The cost model against the generated C++: the trips of its pipelined loops, counted while it runs."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.cost_model import PIPELINE_DEPTH, Tile, tile_costs
from bfpc.backend.program import encode_program
from bfpc.backend.schedule import layer_work, make_schedule
from bfpc.backend.weight_image import TABLE_WORDS, pack_weights
from bfpc.ir.operators import Clip, Pass, Table, Tail, Window
from tests.backend.graphs import ARCHITECTURE, Draft, graph_of
from tests.backend.hls_project import write_project

COUNTER = """
#include <cstdio>
#include <map>
#include <string>
struct Trips : std::map<std::string, long> {
    ~Trips()
    {
        const char* separator = "{";
        for (const auto& entry : *this) {
            std::fprintf(stderr, "%s\\"%s\\": %ld", separator, entry.first.c_str(), entry.second);
            separator = ", ";
        }
        std::fprintf(stderr, "}");
    }
};
inline Trips& counted_trips() { static Trips counted; return counted; }
#define BFPC_PIPELINE ++counted_trips()[__func__];
"""
SMALL = replace(ARCHITECTURE, feature_depth=1024, accumulator_positions=256)
DIGITS = replace(SMALL, activation_bits=2, weight_bits=1)  # maps of int5 in two digits, weights of int4 in three

# The loops of each process of the cost model.
LOOPS = {
    "load": ("unpack_region",),
    "weights": ("unpack_field", "unpack_dense", "unpack_depthwise", "make_pass_taps"),
    "array": ("accumulate_steps", "sum_windows"),
    "tail": ("pool_windows", "pool_channel_tile", "pool_disjoint_windows", "forward"),
    "store": ("pack_outputs",),
}


@pytest.fixture(scope="module", params=[pytest.param(SMALL, id="whole"), pytest.param(DIGITS, id="digits")])
def counting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Architecture, Path]:
    """An accelerator, and its C simulation, which prints how many trips each function's pipelined loops made."""
    folder = write_project(request.param, tmp_path_factory.mktemp("counting"))
    (folder / "trips.hpp").write_text(COUNTER)
    subprocess.run(["make", "build", "CXXFLAGS=-O1 -include trips.hpp"], cwd=folder, check=True, capture_output=True)
    return request.param, folder


def _dense(
    kernel: int,
    shape: tuple[int, int, int],
    outputs: int,
    tail: Tail | None = None,
    *,
    stride: int = 1,
    input_dilation: int = 1,
) -> Draft:
    draft = Draft()
    x = draft.input("x", shape)
    draft.conv("layer", x, outputs, kernel, stride=stride, tail=tail, input_dilation=input_dilation)
    return draft


def _nearest() -> Draft:
    draft = Draft()
    draft.add("layer", Pass(input_dilation=(2, 2), pads=(1, 1, 1, 1)), {"x": draft.input("x", (70, 10, 12))})
    return draft


def _depthwise(kernel: int, stride: int = 1) -> Draft:
    draft = Draft()
    draft.depthwise("layer", draft.input("x", (70, 20, 20)), kernel, stride)
    return draft


POOLED = Tail(Clip(), Window("max", (3, 3), (2, 2), (1, 1, 1, 1)))
LAYERS = {
    "dense": _dense(3, (100, 20, 24), 70),
    "pointwise": _dense(1, (64, 20, 24), 128),
    "pooled": _dense(1, (147, 20, 20), 64, POOLED),
    "pooled in order": _dense(1, (64, 20, 24), 40, Tail(Clip(), Window("average", (2, 3), (2, 3)))),
    "pooled to one position": _dense(1, (64, 7, 7), 40, Tail(Clip(), Window("average", (7, 7), (7, 7)))),
    "fully connected": _dense(1, (300, 1, 1), 100),
    "strided": _dense(1, (200, 20, 20), 70, stride=2),
    "depthwise": _depthwise(5),
    "depthwise by windows": _depthwise(3),
    "depthwise by windows, strided": _depthwise(3, 2),
    "transposed": _dense(4, (100, 9, 10), 70, input_dilation=2),
    "few positions meet a tap": _dense(5, (40, 2, 3), 12, input_dilation=3),
    "table": _dense(1, (64, 20, 24), 64, Tail(Table((("tanh",),)))),
    "nearest": _nearest(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_model_counts_the_trips_of_the_loops(counting: tuple[Architecture, Path], name: str) -> None:
    architecture, folder = counting
    graph = graph_of(LAYERS[name])
    image = pack_weights(graph, architecture)
    schedule = make_schedule(graph, architecture, image)
    layer = schedule.layers[0].program
    work = layer_work(graph, graph.nodes[0], architecture, image.layers["layer"], schedule.memory)
    costs = tile_costs(work, Tile(layer.tile_height, layer.tile_width))
    expected: Counter[str] = Counter()
    for cost, count in costs:
        expected.update({process: count * cycles for process, cycles in cost.processes.items()})
    encode_program(schedule.program).tofile(folder / "program.bin")
    image.words.tofile(folder / "weights.bin")
    np.zeros(schedule.memory.input_words, np.uint64).tofile(folder / "input.bin")
    arguments = ["./csim", "program.bin", "weights.bin", "input.bin", "trace.bin"]
    ran = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=True)
    trips = json.loads(ran.stderr)

    refills = (
        5 * PIPELINE_DEPTH * sum(count for _, count in costs) * layer.channel_tiles
    )  # loops begun anew, which are no trips
    exact = {"array": expected["weights"] <= expected["array"], "load": layer.input_width > 1}  # else they wait
    for process, loops in LOOPS.items():
        counted = sum(trips.get(loop, 0) for loop in loops)
        assert counted <= expected[process], process
        if exact.get(process):
            assert counted == expected[process], process
        assert expected[process] <= 1.3 * counted + refills, process
    assert trips["write_beats"] <= expected["store"]
    assert trips.get("load_table", 0) == work.table * TABLE_WORDS
