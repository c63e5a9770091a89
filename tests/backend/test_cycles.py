"""The cost model, which chooses the tiles, beside the trips of the hardware's loops and beside the simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.cost_model import PIPELINE_DEPTH, tile_costs
from bfpc.backend.layer_work import Tile
from bfpc.backend.schedule import layer_works, make_schedule
from bfpc.backend.trips import layer_trips
from bfpc.backend.weight_image import TABLE_WORDS, pack_weights
from bfpc.ir.graph import Graph
from tests.backend.graphs import ARCHITECTURE, resnet50, small_network
from tests.backend.layer_kinds import KINDS, layer_of

SMALL = replace(ARCHITECTURE, feature_depth=1024, accumulator_positions=256)
DIGITS = replace(SMALL, activation_bits=2, weight_bits=1)  # maps of int5 in two digits, weights of int4 in three

KEPT = replace(SMALL, weight_beats=64)

# The loops of each process of the cost model.
LOOPS = {
    "load": ("unpack_region",),
    "weights": ("unpack_weights",),
    "array": ("accumulate_steps", "pass_features"),
    "windows": ("sum_windows",),
    "tail": ("finish_positions", "pool_channel_tile"),
    "store": ("pack_outputs",),
}


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(SMALL, id="whole"), pytest.param(DIGITS, id="digits"), pytest.param(KEPT, id="weights kept")],
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "residual" not in kind])
def test_the_model_counts_the_trips_of_the_loops(architecture: Architecture, kind: str) -> None:
    graph = layer_of(kind)
    image = pack_weights(graph, architecture)
    schedule = make_schedule(graph, architecture, image)
    layer = schedule.layers[0].program
    (work,) = layer_works(graph, architecture)
    costs = tile_costs(work, Tile(layer.tile_height, layer.tile_width, layer.channel_parts))
    expected: Counter[str] = Counter()
    for cost, count in costs:
        expected.update({process: count * cycles for process, cycles in cost.processes.items()})
    trips = layer_trips(work, layer)

    tiles = sum(count for _, count in costs) * layer.part_channel_tiles
    refills = 5 * PIPELINE_DEPTH * tiles  # loops begun anew, which are no trips
    at_work = {process: sum(trips.get(loop, 0) for loop in loops) for process, loops in LOOPS.items()}
    for process, counted in at_work.items():
        assert counted <= expected[process], process
        if process == "array" and expected["weights"] <= counted:  # else it waits
            assert counted == expected[process], process
        assert expected[process] <= 1.3 * counted + refills, process
    assert trips["write_beats"] <= expected["store"]
    assert trips.get("load_table", 0) == work.table * TABLE_WORDS


@pytest.mark.parametrize("network", [small_network, resnet50])
def test_model_and_simulator_agree_within_5_percent_and_for_a_layer_within_20(network: Callable[[], Graph]) -> None:
    graph = network()
    schedule = make_schedule(graph, ARCHITECTURE, pack_weights(graph, ARCHITECTURE))
    estimated = sum(layer.estimated_cycles for layer in schedule.layers)
    assert schedule.cycles == pytest.approx(estimated, rel=0.05)
    for layer in schedule.layers:
        assert layer.cycles == pytest.approx(layer.estimated_cycles, rel=0.2), layer.name
