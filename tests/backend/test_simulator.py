"""Simulated layers: every cycle has its cause, and causes are where they must be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from bfpc.backend import simulator
from bfpc.backend.architecture import Architecture
from bfpc.backend.schedule import Schedule, layer_works, make_schedule
from bfpc.backend.simulator import LayerSimulation
from bfpc.backend.trips import layer_trips
from bfpc.backend.weight_image import pack_weights
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Clip, Tail, Window
from tests.backend.graphs import ARCHITECTURE, Draft, conv_layer, graph_of, small_network
from tests.backend.layer_kinds import KINDS, layer_of

SMALL = replace(ARCHITECTURE, feature_depth=1024, accumulator_positions=256)
SLOW = replace(ARCHITECTURE, dram_gigabytes_per_second=0.3)  # a byte per cycle

# The loops of a process, where they are of no other one.
LOOPS = {
    "weight reads": ("read_weights",),
    "weights": ("unpack_weights",),
    "array": ("accumulate_steps", "pass_features"),
    "windows": ("sum_windows",),
    "tail": ("finish_positions", "pool_channel_tile"),
    "store": ("pack_outputs",),
    "writes": ("write_beats",),
}
SHARED_LOOPS = {("feature reads", "residual reads"): "read_bursts", ("features", "residuals"): "unpack_region"}


def _schedule(graph: Graph, architecture: Architecture = SMALL) -> Schedule:
    return make_schedule(graph, architecture, pack_weights(graph, architecture))


def _simulated(draft: Draft, architecture: Architecture = ARCHITECTURE) -> LayerSimulation:
    return _schedule(graph_of(draft), architecture).simulation.layers[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_array_is_at_work_or_waits_and_all_processes_make_the_trips_of_their_loops(kind: str) -> None:
    graph = layer_of(kind)
    schedule = _schedule(graph)
    simulated = schedule.simulation.layers[0]
    assert simulated.cycles == simulated.busy["array"] + sum(simulated.stalls.values())
    (work,) = layer_works(graph, SMALL)
    trips = layer_trips(work, schedule.layers[0].program)
    for process, loops in LOOPS.items():
        assert simulated.busy[process] == sum(trips[loop] for loop in loops), process
    for processes, loop in SHARED_LOOPS.items():
        assert sum(simulated.busy[process] for process in processes) == trips[loop], loop


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_is_at_work_on_two_tiles_at_once_nor_outside_its_layer(kind: str) -> None:
    simulated = _schedule(layer_of(kind)).simulation.layers[0]
    for process, busy in simulated.busy.items():
        own = [interval for interval in simulated.intervals if interval.process == process]
        assert all(first.end <= then.start for first, then in pairwise(own)), process
        assert all(0 <= interval.start <= interval.end <= simulated.cycles for interval in own)
        assert busy <= sum(interval.end - interval.start for interval in own), process


def test_a_sample_of_alike_tiles_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 rows of a map, one or two to a tile."""
    draft = Draft()
    tail = Tail(Clip(), Window("max", (2, 2), (2, 2)))
    draft.conv("layer", draft.input("x", (70, 500, 100)), 70, 3, tail=tail)
    graph = graph_of(draft)
    sampled = _schedule(graph).simulation.layers[0]
    monkeypatch.setattr(simulator, "LEAD", 1 << 20)
    whole = _schedule(graph).simulation.layers[0]
    assert len(sampled.intervals) < len(whole.intervals) / 4
    assert (sampled.busy, sampled.dram_bytes) == (whole.busy, whole.dram_bytes)
    assert sampled.cycles == pytest.approx(whole.cycles, rel=1e-3)
    assert sampled.intervals[-1].end == pytest.approx(whole.intervals[-1].end, rel=1e-3)


def test_an_array_of_much_work_hardly_waits() -> None:
    """64 to 64 channels, 3x3, on 16x16, one tile: 2 * 9 * 256 steps after the first features, by hand."""
    simulated = _simulated(conv_layer("conv", "image", inputs=64, outputs=64, size=16))
    assert simulated.busy["array"] == 5 + 2 * 15 + 2 * 9 * 256
    assert simulated.utilization == pytest.approx(64 * 64 * 9 * 256 / 2048 / simulated.cycles)
    assert sum(simulated.stalls.values()) < 0.2 * simulated.cycles


def test_a_slow_memory_is_what_the_array_waits_for() -> None:
    simulated = _simulated(conv_layer("conv", "image", inputs=64, outputs=64, size=16), SLOW)
    assert simulated.cycles > simulated.dram_bytes
    waits = sum(cycles for cause, cycles in simulated.stalls.items() if cause.endswith("DRAM"))
    assert waits > 0.8 * sum(simulated.stalls.values())


def test_windows_hold_up_the_array_in_the_tail() -> None:
    """16 to 32 channels, 1x1, windows of 5x5: 25 positions of a window for each sum."""
    draft = Draft()
    pool = Window("max", (5, 5), (1, 1), (2, 2, 2, 2))
    draft.conv("stem", draft.input("image", (16, 60, 16)), 32, tail=Tail(Clip(), pool))
    simulated = _simulated(draft, SMALL)
    assert next(iter(simulated.stalls)) in ("tail", "end: tail")
    assert simulated.busy["tail"] > 0.9 * simulated.cycles


def test_a_layer_of_one_position_waits_for_its_weights() -> None:
    """A step's weights take 32 cycles, the array 16."""
    draft = Draft()
    draft.conv("classifier", draft.input("features", (2048, 1, 1)), 256)
    stalls = _simulated(draft).stalls
    assert next(iter(stalls)) == "weights"
    assert stalls["weights"] > 8 * 32 * 16


def test_a_residual_from_a_slow_memory_holds_up_the_tail() -> None:
    draft = Draft()
    other = draft.input("other", (64, 40, 16))
    draft.conv("layer", draft.input("x", (16, 40, 16)), 64, residual=other)
    simulated = _simulated(draft, replace(SMALL, dram_gigabytes_per_second=3))
    assert simulated.stalls["tail: DRAM"] > 0.1 * simulated.cycles


def test_narrow_rows_are_written_word_by_word() -> None:
    """Rows of one position, 3 words in the midst of beats: three cycles to write what takes one to compute."""
    draft = Draft()
    draft.conv("layer", draft.input("x", (16, 200, 1)), 64)
    simulated = _simulated(draft)
    assert simulated.busy["writes"] > 2 * 200
    assert any(cause.endswith(("store", "writes")) and cycles > 200 for cause, cycles in simulated.stalls.items())


def test_a_network_is_its_layers_one_after_the_other() -> None:
    schedule = _schedule(small_network())
    whole, layers = schedule.simulation, schedule.simulation.layers
    assert [layer.name for layer in layers] == [layer.name for layer in schedule.layers]
    assert [layer.start for layer in layers[1:]] == [layer.start + layer.cycles for layer in layers[:-1]]
    assert schedule.cycles == whole.cycles == layers[-1].start + layers[-1].cycles
    assert whole.cycles == whole.busy["array"] + sum(whole.stalls.values())
    assert schedule.utilization == pytest.approx(schedule.macs / schedule.cycles / 2048)
    begins = {layer.name: layer.start for layer in layers}
    assert all(begins[each.layer] <= each.start <= each.end <= whole.cycles for each in whole.timeline)
