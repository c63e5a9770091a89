"""Geometry against its definition; tiles, costs and the schedule's figures."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bfpc.backend.architecture import Architecture
from bfpc.backend.cost_model import PIPELINE_DEPTH, layer_cost
from bfpc.backend.geometry import Axis
from bfpc.backend.layer_work import LayerWork, Tile
from bfpc.backend.program import FIELDS, decode_program, encode_program
from bfpc.backend.schedule import Schedule, layer_work, make_schedule, schedule_document
from bfpc.backend.tiling import CYCLE_SLACK, choose_tile
from bfpc.backend.weight_image import pack_weights
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Clip, Conv, PadMode, Tail, Window
from tests.backend.graphs import ARCHITECTURE, Draft, conv_layer, graph_of, resnet50, small_network
from tests.backend.layer_kinds import layer_of


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size = draw(st.integers(1, 30))
    input_dilation = draw(st.integers(1, 4))
    dilated = input_dilation > 1
    kernel = draw(st.integers(input_dilation, input_dilation + 3))
    dilation, stride = (1 if dilated else draw(st.integers(1, high)) for high in (3, 4))
    reach = (kernel - 1) * dilation + 1
    pads = draw(st.integers(-1, kernel)), draw(st.integers(-1, kernel))
    array = ((size - 1) * input_dilation + 1 + sum(pads) - reach) // stride + 1
    pool, pool_stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pool_pad = draw(st.integers(0, pool - 1))
    output = (array + 2 * pool_pad - pool) // pool_stride + 1
    assume(array >= 1 and output >= 1)
    axis = Axis(size, array, output, kernel, stride, dilation, pads[0], pool, pool_stride, pool_pad)
    return replace(axis, input_dilation=input_dilation, pad_mode=draw(st.sampled_from(_pad_modes(axis, pads[1]))))


def _pad_modes(axis: Axis, pad_after: int) -> list[PadMode]:
    """Reflections need that much of a map."""
    return ["zero", "edge", "reflect"] if max(axis.pad, pad_after) < axis.input_size else ["zero", "edge"]


@settings(max_examples=200)
@given(axes(), st.integers(1, 12))
def test_spans_cover_exactly_what_their_outputs_need(axis: Axis, tile: int) -> None:
    outputs = []
    for span in axis.spans(tile):
        outputs += list(span.output)
        windows = [o * axis.pool_stride - axis.pool_pad + k for o in span.output for k in range(axis.pool_kernel)]
        needed = [position for position in windows if 0 <= position < axis.array_size]
        assert (span.array.start, span.array.stop - 1) == (min(needed), max(needed))
        places = [[a * axis.stride - axis.pad + k * axis.dilation for a in span.array] for k in range(axis.kernel)]
        seen = [[place // axis.input_dilation for place in tap if place % axis.input_dilation == 0] for tap in places]
        inputs = [_found(axis, position) for tap in seen for position in tap]
        assert span.region.start <= min(inputs)
        assert span.region.stop > max(inputs)
        if axis.pad_mode != "reflect":  # whose region also holds what lies between the positions that it mirrors
            assert (span.region.start, span.region.stop - 1) == (min(inputs), max(inputs))
        assert axis.met(span.array) == Counter(len(tap) for tap in seen)
        assert list(span.inside) == [position for position in span.region if 0 <= position < axis.input_size]
    assert outputs == list(range(axis.output_size))


def _found(axis: Axis, position: int) -> int:
    """Where in the map a layer finds an input position."""
    positions = list(range(axis.input_size))
    if axis.pad_mode == "zero" or position in positions:
        return position
    if axis.pad_mode == "edge":
        return min(positions, key=lambda other: abs(other - position))
    edge = 0 if position < 0 else axis.input_size - 1
    return 2 * edge - position


def _schedule(graph: Graph, architecture: Architecture = ARCHITECTURE) -> Schedule:
    return make_schedule(graph, architecture, pack_weights(graph, architecture))


def _work(graph: Graph, architecture: Architecture = ARCHITECTURE) -> LayerWork:
    node = next(graph.layers)
    return layer_work(graph, node, architecture, pack_weights(graph, architecture).layers[node.name])


def test_cost_of_a_layer_by_hand() -> None:
    """64 to 64 channels, 3x3, on 16x16, in one tile of 256 positions."""
    graph = graph_of(conv_layer("conv", "image", inputs=64, outputs=64, size=16))
    cost = layer_cost(_work(graph), Tile(16, 16))
    latency = 100
    weights = latency + 32  # of the first step, a channel per cycle; features arrive meanwhile
    fill = 5 + 2 * 15  # 16 positions of a row are swept while 18 of the input arrive, halo included
    array = 2 * 9 * 256  # two channel tiles, nine taps
    last_row = 42 // 8 + 2 * 7  # its words: whole beats, and up to 7 at either end
    finish = last_row + 4 * PIPELINE_DEPTH + latency
    assert cost.cycles == weights + fill + array + PIPELINE_DEPTH + finish
    assert cost.bound == "array"
    record = 2 * (3 + 16 * 5)
    row = -(-16 * record // 64)
    weights = -(-64 * (24 + 9 * 4 * (2 + 16 * 4)) // 64)
    assert cost.dram_bytes == 8 * (2 * 16 * row + 2 * 16 * row + weights)
    assert cost.buffers.feature_vectors == 18 * 18
    assert cost.buffers.accumulator_positions == 256


def test_a_narrow_array_takes_a_step_for_each_pair_of_digits() -> None:
    """Maps of int5 are two digits of 2 bits beside the sign, weights of int4 three of one bit."""
    narrow = replace(ARCHITECTURE, activation_bits=2, weight_bits=1)
    graph = graph_of(conv_layer("conv", "image", inputs=64, outputs=64, size=16))
    whole, split = (layer_cost(_work(graph, architecture), Tile(16, 16)) for architecture in (ARCHITECTURE, narrow))
    assert split.cycles - whole.cycles == (2 * 3 - 1) * 2 * 9 * 256
    assert (split.dram_bytes, split.buffers) == (whole.dram_bytes, whole.buffers)


@pytest.mark.parametrize("inputs", [27, 32, 33])
def test_two_digits_of_few_channels_multiply_in_the_same_cycle(inputs: int) -> None:
    """On 64 lanes, in groups of 32: half of them suffice, or not. Multiplications of the array are as many."""
    narrow = replace(ARCHITECTURE, activation_bits=2)
    graph = graph_of(conv_layer("conv", "image", inputs=inputs, outputs=64, size=16))
    (whole,), (split,) = (_schedule(graph, architecture).layers for architecture in (ARCHITECTURE, narrow))
    (narrow_groups,) = _schedule(graph, replace(narrow, k_vec=64)).layers
    assert split.products == 2 * whole.products
    assert (split.passes, narrow_groups.passes) == (1 if inputs <= 32 else 2, 2)
    assert split.cycles - whole.cycles == (split.passes - 1) * 2 * 9 * 256
    assert ("activation digit" in split.loop_order) == (split.passes == 2)


def test_only_dense_layers_split_mantissas() -> None:
    graph = small_network()
    schedule = _schedule(graph, replace(ARCHITECTURE, activation_bits=2, weight_bits=1))
    digits = {
        (layer.operator, layer.program.activation_digits, layer.program.weight_digits) for layer in schedule.layers
    }
    assert digits == {("Conv", 2, 3), ("Depthwise", 1, 1), ("Pass", 1, 1)}
    in_turn = {
        layer.program.digits_side_by_side: layer.loop_order for layer in schedule.layers if layer.operator == "Conv"
    }
    loops = "spatial tile > channel tile > vector > filter tap > weight digit"
    assert in_turn[1] == f"{loops} > position"
    assert in_turn[0] == f"{loops} > activation digit > position"


def test_a_slow_memory_bounds_the_cycles() -> None:
    graph = graph_of(conv_layer("conv", "image", inputs=64, outputs=64, size=16))
    cost = layer_cost(_work(graph, replace(ARCHITECTURE, dram_gigabytes_per_second=0.03)), Tile(16, 16))
    assert cost.cycles >= cost.dram_bytes * 10  # 0.1 bytes a cycle
    assert cost.bound == "memory"


def test_a_layer_of_one_position_waits_for_its_weights() -> None:
    """256 to 64 channels, 1x1: the array could take a step every 16 cycles, a step's weights take 32."""
    draft = Draft()
    draft.conv("classifier", draft.input("features", (256, 1, 1)), 64)
    cost = layer_cost(_work(graph_of(draft)), Tile(1, 1))
    assert cost.bound == "weights"
    assert cost.cycles >= 2 * (256 // 64 + 1) * 32


def test_pooling_takes_a_cycle_per_position_and_one_per_window_position() -> None:
    """16 to 32 channels, 1x1, on 16x16, windows of 3x3: one step of 256 cycles, then 8 * 8 * 9 = 576."""
    draft = Draft()
    pool = Window("max", (3, 3), (2, 2), (0, 0, 1, 1))
    draft.conv("stem", draft.input("image", (16, 16, 16)), 32, tail=Tail(Clip(), pool))
    cost = layer_cost(_work(graph_of(draft)), Tile(8, 8))
    assert cost.bound == "tail"
    assert cost.cycles >= 256 + 576


@pytest.mark.parametrize("size", [7, 40, 130])
def test_the_chosen_tile_fits_and_every_other_is_slower_or_moves_no_less(size: int) -> None:
    architecture = replace(ARCHITECTURE, feature_depth=1024, accumulator_positions=300)
    work = _work(graph_of(conv_layer("conv", "image", inputs=70, outputs=40, size=size)), architecture)
    tile, cost = choose_tile(work)
    assert cost.buffers.feature_vectors <= 1024
    assert cost.buffers.accumulator_positions <= 300
    assert tile.width == size or tile.width % 64 == 0
    for height in range(1, size + 1):
        other = layer_cost(work, Tile(height, tile.width))
        if other.buffers.fit(architecture) and size % height == 0:
            assert cost.cycles <= other.cycles * (1 + CYCLE_SLACK)
            assert cost.cycles < other.cycles or cost.dram_bytes <= other.dram_bytes


def test_weights_are_read_once_where_those_of_a_part_of_the_channels_stay_on_chip() -> None:
    """128 to 256 channels, 3x3 on 64x64: 150 KB of weights for 16 tiles or more; 64 KB hold a third."""
    graph = graph_of(conv_layer("conv", "image", inputs=128, outputs=256, size=64))
    small = replace(ARCHITECTURE, accumulator_positions=256)
    whole, split, without = (_schedule(graph, replace(small, weight_beats=beats)) for beats in (4096, 1024, 0))
    for schedule, parts in ((whole, 1), (split, 3)):
        (layer,) = schedule.layers
        assert (layer.weight_reads, layer.input_reads, layer.program.channel_parts) == (1, parts, parts)
        assert layer.loop_order.startswith("channel part > spatial tile" if parts > 1 else "spatial tile")
        assert layer.dram_bytes == pytest.approx(layer.estimated_dram_bytes, rel=0.02)
    assert without.layers[0].weight_reads == without.layers[0].program.tiles_vertical
    assert whole.dram_bytes < split.dram_bytes < 0.7 * without.dram_bytes
    assert split.cycles <= without.cycles * (1 + CYCLE_SLACK)


@pytest.mark.parametrize(
    ("size", "architecture", "setting"),
    [
        (70, replace(ARCHITECTURE, feature_depth=64), "feature_depth"),
        (63, replace(ARCHITECTURE, accumulator_positions=62), "accumulator_positions"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_with_the_number_it_takes(
    size: int, architecture: Architecture, setting: str
) -> None:
    graph = graph_of(conv_layer("big", "image", inputs=64, outputs=8, size=size))
    with pytest.raises(CapacityError, match="the smallest tile of big needs") as refusal:
        _schedule(graph, architecture)
    assert refusal.value.where == f"architecture.{setting}"
    needed: dict[str, Any] = {setting: int(refusal.value.fix.rsplit(" ", 1)[1])}
    _schedule(graph, replace(architecture, **needed))


def test_narrow_tiles_are_taken_where_their_records_fill_words_and_no_others_fit() -> None:
    """Windows of 27x27: 27 rows of 64 + 26 columns are too many accumulators, of 32 + 26 they fit 1600."""
    draft = Draft()
    pool = Window("average", (27, 27))
    draft.conv("wide", draft.input("image", (32, 40, 150)), 32, tail=Tail(None, pool))
    work = _work(graph_of(draft), replace(ARCHITECTURE, accumulator_positions=1600))
    tile, cost = choose_tile(work)
    assert cost.buffers.accumulator_positions <= 1600
    assert tile.width == 32
    assert tile.width * work.output.record_bits(0) % 64 == 0


@pytest.mark.parametrize(
    ("tail", "accumulators"),
    [
        pytest.param(Tail(Clip()), 0, id="no sum waits"),
        pytest.param(Tail(None, Window("average", (2, 2), (2, 2))), 30, id="a sum for each window of a row"),
        pytest.param(Tail(None, Window("max", (3, 3), (2, 2), (0, 0, 1, 1))), 60 * 60, id="all wait for their windows"),
    ],
)
def test_a_layer_of_one_step_takes_accumulators_only_to_pool(tail: Tail, accumulators: int) -> None:
    """64 channels, 1x1, on 60x60: as many as there are lanes; the filter of 3x3 beside it has nine steps."""
    draft = Draft()
    draft.conv("pointwise", draft.input("image", (64, 60, 60)), 32, tail=tail)
    work = _work(graph_of(draft))
    whole = Tile(work.vertical.output_size, work.horizontal.output_size)
    assert layer_cost(work, whole).buffers.accumulator_positions == accumulators
    filtered = _work(graph_of(conv_layer("conv", "image", inputs=64, outputs=32, size=60)))
    assert layer_cost(filtered, Tile(60, 60)).buffers.accumulator_positions == 60 * 60


@pytest.mark.parametrize("kernel", [1, 3])
def test_depthwise_windows_take_no_accumulators(kernel: int) -> None:
    draft = Draft()
    draft.depthwise("filtered", draft.input("image", (32, 60, 60)), kernel)
    work = _work(graph_of(draft))
    assert layer_cost(work, Tile(60, 60)).buffers.accumulator_positions == 0
    by_taps = _work(graph_of(draft), replace(ARCHITECTURE, depthwise_window=1))
    assert layer_cost(by_taps, Tile(60, 60)).buffers.accumulator_positions == (0 if kernel == 1 else 60 * 60)


def test_a_layer_whose_sums_do_not_wait_has_the_tiles_that_the_features_allow() -> None:
    draft = Draft()
    draft.conv("pointwise", draft.input("image", (64, 60, 60)), 128)
    few, many = (_schedule(graph_of(draft), replace(ARCHITECTURE, accumulator_positions=n)) for n in (64, 4096))
    assert few.layers == many.layers
    assert few.layers[0].program.tile_height * few.layers[0].program.tile_width > 64


def test_whole_figures_are_sums_and_the_document_holds_the_promised_keys() -> None:
    schedule = _schedule(small_network())
    document = json.loads(json.dumps(schedule_document(schedule)))
    for key in ("macs", "cycles", "dram_bytes"):
        assert document[key] == sum(layer[key] for layer in document["layers"])
    assert document["utilization"] == pytest.approx(schedule.macs / schedule.cycles / 2048)
    for layer in document["layers"]:
        assert layer["name"]
        assert layer["activation_format"] == "int5bfp/16"
        assert layer["weight_format"] in ("int4bfp/16", "int8bfp/9", None)
        assert layer["accumulator_bits"] == 28
        assert f"< 2^{layer['accumulator_bits'] - 1}" in layer["accumulator_proof"]
        assert 0 <= layer["utilization"] <= 1
        assert layer["bound"] in ("array", "weights", "load", "residual", "tail", "store", "memory")
        tiles = layer["program"]["tiles_vertical"] * layer["program"]["tiles_horizontal"]
        assert layer["weight_reads"] == (tiles if layer["weight_bytes"] else 0)  # none are kept
        assert list(layer["program"]) == [field.name for field in FIELDS]


@pytest.mark.parametrize("kind", ["streamed", "streamed, strided"])
def test_the_first_of_layers_that_run_together_counts_for_both(kind: str) -> None:
    graph = layer_of(kind)
    schedule = _schedule(graph)
    first, behind = schedule.layers
    assert (first.runs_with, behind.runs_with) == (None, "map")
    assert (first.cycles, first.dram_bytes) == (schedule.cycles, schedule.dram_bytes)
    assert (behind.cycles, behind.dram_bytes, behind.stalls, behind.utilization) == (0, 0, {}, 0.0)
    assert behind.macs > 0
    assert first.utilization == pytest.approx((first.products + behind.products) / schedule.cycles / 2048)
    assert (first.program.streams, behind.program.streams) == (1, 0)
    tiles = [(layer.tile_height, layer.tile_width, layer.keeps_weights) for layer in schedule.program.layers]
    assert tiles[0] == tiles[1]


def test_layers_that_run_together_move_less_and_take_fewer_cycles() -> None:
    graph = layer_of("streamed")
    alone = graph.with_nodes(
        replace(node, op=replace(node.op, streams=False)) if isinstance(node.op, Conv) else node for node in graph.nodes
    )
    together, apart = _schedule(graph), _schedule(alone)
    assert together.cycles < apart.cycles
    assert together.dram_bytes < apart.dram_bytes


def test_the_program_is_the_schedule() -> None:
    graph = small_network()
    schedule = _schedule(graph)
    program = decode_program(encode_program(schedule.program))
    assert program == schedule.program
    by_name = dict(zip([node.name for node in graph.layers], program.layers, strict=True))
    narrow, stem = by_name["narrow"], by_name["stem"]
    assert narrow.input_address == by_name["left"].output_address
    assert narrow.residual_address == stem.output_address
    assert (narrow.residual, narrow.residual_shift, narrow.residual_mantissa_bits) == (1, 2, 5)
    assert (stem.array_height, stem.output_height, stem.pool, stem.pool_pad_top) == (20, 10, 1, 1)
    assert (by_name["cropped"].array_mode, by_name["cropped"].pad_top) == (2, -1)
    assert (by_name["head"].pool, by_name["head"].reciprocal_shift) == (2, 16)
    assert stem.clip_low == 0
    assert stem.clip_high == 2**63 - 1


def test_resnet50_uses_92_percent_of_the_array() -> None:
    schedule = _schedule(resnet50())
    assert schedule.macs == pytest.approx(4.09e9, rel=0.01)
    assert schedule.utilization >= 0.92
