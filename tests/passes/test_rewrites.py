"""Exact rewrites: on random graphs they keep what is computed and leave what the hardware takes; and each as text."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config import ArraySize, Config
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.operators import Channels, Concat, Conv, Layer, Pass, Tail, Window
from bfpc.ir.shapes import array_size
from bfpc.passes.align_concats import align_concats
from bfpc.passes.buffers import layer_fits
from bfpc.passes.compose_selections import compose_selections
from bfpc.passes.fuse_tables import fuse_tables
from bfpc.passes.selections import selection
from bfpc.passes.split_channels import split_channels
from bfpc.passes.split_groups import best_slice, split_groups
from bfpc.passes.split_kernels import split_kernels
from bfpc.passes.split_pools import cascade, split_pools
from bfpc.passes.view_channels import view_channels
from bfpc.pipeline import Dump, float_passes, run_passes
from tests.passes.checks import assert_same_outputs, check, check_unchanged, graph_of, text_of
from tests.passes.random_graphs import random_graph

GROUP = 8  # k_vec of the random graphs' array


def config(lanes: int, feature_depth: int, accumulator_positions: int = 64) -> Config:
    blocks = {"block_size": 8}
    array = {"c_vec": lanes, "k_vec": GROUP}
    array |= {"feature_depth": feature_depth, "accumulator_positions": accumulator_positions}
    return Config.model_validate({"formats": {"activation": blocks, "weight": blocks}, "architecture": array})


@pytest.mark.parametrize("seed", range(300))
def test_every_pass_keeps_what_a_network_computes(seed: int) -> None:
    graph = random_graph(seed)
    chosen = config(lanes=(8, 32)[seed % 2], feature_depth=(64, 4096)[seed % 3 // 2])
    for name, transform in float_passes(chosen).items():
        before, graph = graph, run_passes(graph, {name: transform}, Dump(None))
        assert_same_outputs(before, graph)
    assert_legal(graph, chosen)


def assert_legal(graph: Graph, chosen: Config) -> None:
    """That the backend can take the graph."""
    joined = [name for node in graph.nodes if isinstance(node.op, Concat) for name in node.inputs.values()]
    assert len(joined) == len(set(joined)), "a value lies in one place only"
    for node in graph.nodes:
        match node.op:
            case Concat():
                _assert_addressing(graph, node)
            case Channels(start, stop):
                source = graph.value(node.inputs["x"])
                assert start % GROUP == 0
                assert stop % GROUP == 0 or stop == source.shape[0]
                producer = graph.producer(source.name)
                assert producer is None or not isinstance(producer.op, Channels)
            case _:
                _assert_layer(graph, node, chosen)


def _assert_addressing(graph: Graph, node: Node) -> None:
    parts = list(node.inputs.values())
    assert all(graph.value(name).shape[0] % GROUP == 0 for name in parts[:-1])
    producers = [graph.producer(name) for name in parts]
    assert all(producer is not None and not isinstance(producer.op, Channels) for producer in producers)


def _assert_layer(graph: Graph, node: Node, chosen: Config) -> None:
    assert isinstance(node.op, Layer)
    op, size = node.op, graph.value(node.inputs["x"]).shape[1:]
    assert not isinstance(op, Conv) or op.groups == 1
    if op.input_dilation != (1, 1):
        assert op.stride == op.dilation == (1, 1)
        assert op.pad_mode != "reflect"
        assert all(taps >= step for taps, step in zip(op.kernel, op.input_dilation, strict=True))
    if "residual" in node.inputs:
        whole = (node.output.shape[0], *array_size(op, size))
        assert graph.value(node.inputs["residual"]).shape in (whole, (whole[0], 1, 1))
    assert layer_fits(graph, chosen, node) or _cannot_be_split(op)


def _cannot_be_split(op: Layer) -> bool:
    """Two rows of as many columns as fill words; a filter on a dilated map."""
    return (op.tail.pool is not None and op.tail.pool.kernel == (2, 1)) or op.input_dilation != (1, 1)


# -- fuse_tables ------------------------------------------------------------------------------------------------------

GELU = """\
input "x" = %x (N, C, H, W) : 2x3x3
%a = Scale(x=%x, scale=@root, bias=@zero) : 2x3x3
%b = Activate(x=%a) {activation=Table(steps=(('erf',),))} : 2x3x3
%c = Scale(x=%b, scale=@one, bias=@one) : 2x3x3
%d = Elementwise(x=%x, residual=%c) {operation='multiply'} : 2x3x3
%y = Scale(x=%d, scale=@half, bias=@zero) : 2x3x3
output "y" = %y (N, C, H, W)
constant @half : 2 [float32]
constant @one : 2 [float32]
constant @root : 2 [float32]
constant @zero : 2 [float32]
"""
HARD_SWISH = """\
input "x" = %x (N, C, H, W) : 2x3x3
%a = Scale(x=%x, scale=@one, bias=@three) : 2x3x3
%b = Activate(x=%a) {activation=Clip(high=6.0)} : 2x3x3
%c = Elementwise(x=%b, residual=%x) {operation='multiply'} : 2x3x3
%y = Scale(x=%c, scale=@quarter, bias=@zero) : 2x3x3
output "y" = %y (N, C, H, W)
constant @one : 2 [float32]
constant @quarter : 2 [float32]
constant @three : 2 [float32]
constant @zero : 2 [float32]
"""
TANH_GELU = """\
input "x" = %x (N, C, H, W) : 2x3x3
%a = Activate(x=%x) {activation=Table(steps=(('power', 3.0),))} : 2x3x3
%b = Scale(x=%a, scale=@quarter, bias=@zero) : 2x3x3
%c = Elementwise(x=%x, residual=%b) {operation='add'} : 2x3x3
%d = Activate(x=%c) {activation=Table(steps=(('tanh',),))} : 2x3x3
%e = Scale(x=%d, scale=@one, bias=@one) : 2x3x3
%f = Scale(x=%x, scale=@half, bias=@zero) : 2x3x3
%y = Elementwise(x=%f, residual=%e) {operation='multiply'} : 2x3x3
output "y" = %y (N, C, H, W)
constant @half : 2 [float32]
constant @one : 2 [float32]
constant @quarter : 2 [float32]
constant @zero : 2 [float32]
"""
NUMBERS = {"zero": 0.0, "quarter": 0.25, "half": 0.5, "root": 0.75, "one": 1.0, "three": 3.0}


def scalars(text: str) -> Graph:
    """The graph with constants that are one number for all channels, by their names."""
    return graph_of(text, {name: np.full(2, number, np.float32) for name, number in NUMBERS.items()})


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (GELU, "('affine', 0.75, 0.0), ('erf',), ('affine', 0.5, 0.5)"),
        (HARD_SWISH, "('affine', 1.0, 3.0), ('clip', 0.0, 6.0), ('affine', 0.25, 0.0)"),
        (TANH_GELU, "('polynomial', 0.0, 1.0, 0.0, 0.25), ('tanh',), ('affine', 0.5, 0.5)"),
    ],
)
def test_fuse_tables_makes_one_table_of_a_gate_in_steps(text: str, steps: str) -> None:
    graph = scalars(text)
    fused = fuse_tables(graph).check()
    assert text_of(fused) == (
        'input "x" = %x (N, C, H, W) : 2x3x3\n'
        f"%y = Activate(x=%x) {{activation=Table(steps=({steps}), gated=True)}} : 2x3x3\n"
        'output "y" = %y (N, C, H, W)\n'
    )
    assert_same_outputs(graph, fused)


def test_fuse_tables_keeps_values_that_others_read_and_what_is_exact_without_a_table() -> None:
    graph = scalars(HARD_SWISH + 'output "b" = %b (N, C, H, W)\n')
    assert text_of(fuse_tables(graph)) == text_of(graph)
    graph = scalars(GELU + 'output "c" = %c (N, C, H, W)\n')
    fused = fuse_tables(graph).check()
    assert [node.name for node in fused.nodes] == ["c", "d", "y"]
    assert_same_outputs(graph, fused)


# -- split_groups -----------------------------------------------------------------------------------------------------


def test_split_groups_slices_where_groups_fill_channel_groups() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 64x4x4
        %y = Conv(x=%x, weight=@w, bias=@b, residual=%x) {kernel=(1, 1), groups=16, tail=Tail(activation=Clip())} \
: 64x4x4
        output "y" = %y (N, C, H, W)
        constant @b : 64 [float32]
        constant @w : 64x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 64x4x4
        %y.x0.x = Channels(x=%x) {start=0, stop=32} : 32x4x4
        %y.x0.residual = Channels(x=%x) {start=0, stop=32} : 32x4x4
        %y.x0 = Conv(x=%y.x0.x, weight=@y.x0.dense_weight, bias=@y.x0.bias, residual=%y.x0.residual) {kernel=(1, 1), \
tail=Tail(activation=Clip())} : 32x4x4
        %y.x1.x = Channels(x=%x) {start=32, stop=64} : 32x4x4
        %y.x1.residual = Channels(x=%x) {start=32, stop=64} : 32x4x4
        %y.x1 = Conv(x=%y.x1.x, weight=@y.x1.dense_weight, bias=@y.x1.bias, residual=%y.x1.residual) {kernel=(1, 1), \
tail=Tail(activation=Clip())} : 32x4x4
        %y = Concat(x0=%y.x0, x1=%y.x1) : 64x4x4
        output "y" = %y (N, C, H, W)
        constant @y.x0.bias : 32 [float32]
        constant @y.x0.dense_weight : 32x32x1x1 [float32]
        constant @y.x1.bias : 32 [float32]
        constant @y.x1.dense_weight : 32x32x1x1 [float32]
        """,
        partial(split_groups, array=ArraySize(c_vec=32, k_vec=16)),
    )


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "count"),
    [
        (32, 4, 4, 16),  # ResNeXt: 64 channels fill the lanes
        (32, 8, 8, 8),
        (2, 48, 128, 2),  # AlexNet: 48 channels end within a channel group
        (4, 64, 64, 1),
        (3, 80, 20, 3),  # ShuffleNet
    ],
)
def test_slices_take_the_groups_that_fill_the_lanes(groups: int, inputs: int, outputs: int, count: int) -> None:
    assert best_slice(groups, inputs, outputs, ArraySize(c_vec=64, k_vec=32)) == count


def test_split_groups_repeats_the_channels_that_several_filters_read() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x4x4
        %y = Conv(x=%x, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1), groups=4} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @w : 8x1x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x4x4
        %y.repeated = Conv(x=%x, weight=@y.selection) {kernel=(1, 1)} : 8x4x4
        %y = Depthwise(x=%y.repeated, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @w : 8x1x3x3 [float32]
        constant @y.selection : 8x4x1x1 [float32]
        """,
        partial(split_groups, array=ArraySize(c_vec=64, k_vec=32)),
    )


# -- split_kernels, split_pools ---------------------------------------------------------------------------------------


def test_split_kernels_sums_over_channels_and_rows() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 24x13x5
        %y = Conv(x=%x, weight=@w, bias=@b, residual=%r) {kernel=(12, 3), pads=(1, 1, 1, 1), \
tail=Tail(activation=Clip(), residual='subtract')} : 4x4x5
        output "y" = %y (N, C, H, W)
        constant @b : 4 [float32]
        constant @w : 4x24x12x3 [float32]
        """.replace("24x13x5\n", '24x13x5\n        input "r" = %r (N, C, H, W) : 4x4x5\n', 1),
        """\
        input "x" = %x (N, C, H, W) : 24x13x5
        input "r" = %r (N, C, H, W) : 4x4x5
        %y.part0.x = Channels(x=%x) {start=0, stop=16} : 16x13x5
        %y.part0 = Conv(x=%y.part0.x, weight=@y.part0.weight, bias=@b, residual=%r) {kernel=(9, 3), \
pads=(1, 1, -2, 1), tail=Tail(residual='subtract')} : 4x4x5
        %y.part1 = Conv(x=%y.part0.x, weight=@y.part1.weight, residual=%y.part0) {kernel=(3, 3), \
pads=(-8, 1, 1, 1)} : 4x4x5
        %y.part2.x = Channels(x=%x) {start=16, stop=24} : 8x13x5
        %y.part2 = Conv(x=%y.part2.x, weight=@y.part2.weight, residual=%y.part1) {kernel=(9, 3), \
pads=(1, 1, -2, 1)} : 4x4x5
        %y = Conv(x=%y.part2.x, weight=@y.part3.weight, residual=%y.part2) {kernel=(3, 3), pads=(-8, 1, 1, 1), \
tail=Tail(activation=Clip())} : 4x4x5
        output "y" = %y (N, C, H, W)
        constant @b : 4 [float32]
        constant @y.part0.weight : 4x16x9x3 [float32]
        constant @y.part1.weight : 4x16x3x3 [float32]
        constant @y.part2.weight : 4x8x9x3 [float32]
        constant @y.part3.weight : 4x8x3x3 [float32]
        """,
        partial(split_kernels, config=config(lanes=16, feature_depth=64)),
    )


def test_split_kernels_sums_over_rows_of_a_depthwise_filter_and_over_columns() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 8x5x80
        %y = Depthwise(x=%x, weight=@w) {kernel=(2, 40), dilation=(1, 2), tail=Tail(activation=Clip(high=6.0))} : 8x4x2
        output "y" = %y (N, C, H, W)
        constant @w : 8x1x2x40 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 8x5x80
        %y.part0 = Depthwise(x=%x, weight=@y.part0.weight) {kernel=(1, 32), pads=(0, 0, -1, -16), dilation=(1, 2)} \
: 8x4x2
        %y.part1 = Depthwise(x=%x, weight=@y.part1.weight, residual=%y.part0) {kernel=(1, 8), pads=(0, -64, -1, 0), \
dilation=(1, 2)} : 8x4x2
        %y.part2 = Depthwise(x=%x, weight=@y.part2.weight, residual=%y.part1) {kernel=(1, 32), \
pads=(-1, 0, 0, -16), dilation=(1, 2)} : 8x4x2
        %y = Depthwise(x=%x, weight=@y.part3.weight, residual=%y.part2) {kernel=(1, 8), pads=(-1, -64, 0, 0), \
dilation=(1, 2), tail=Tail(activation=Clip(high=6.0))} : 8x4x2
        output "y" = %y (N, C, H, W)
        constant @y.part0.weight : 8x1x1x32 [float32]
        constant @y.part1.weight : 8x1x1x8 [float32]
        constant @y.part2.weight : 8x1x1x32 [float32]
        constant @y.part3.weight : 8x1x1x8 [float32]
        """,
        partial(split_kernels, config=config(lanes=16, feature_depth=64)),
    )


def test_split_channels_slices_what_works_on_each_channel_by_itself() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 40x9x9
        %v = Channels(x=%x) {start=16, stop=40} : 24x9x9
        %y = Depthwise(x=%v, weight=@w, bias=@b, residual=%v, slope=@p) {kernel=(3, 3), pads=(1, 1, 1, 1), \
tail=Tail(activation=PRelu())} : 24x9x9
        output "y" = %y (N, C, H, W)
        constant @b : 24 [float32]
        constant @p : 24 [float32]
        constant @w : 24x1x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 40x9x9
        %y.x0.x = Channels(x=%x) {start=16, stop=32} : 16x9x9
        %y.x0.residual = Channels(x=%x) {start=16, stop=32} : 16x9x9
        %y.x0 = Depthwise(x=%y.x0.x, weight=@y.x0.weight, bias=@y.x0.bias, residual=%y.x0.residual, \
slope=@y.x0.slope) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=PRelu())} : 16x9x9
        %y.x1.x = Channels(x=%x) {start=32, stop=40} : 8x9x9
        %y.x1.residual = Channels(x=%x) {start=32, stop=40} : 8x9x9
        %y.x1 = Depthwise(x=%y.x1.x, weight=@y.x1.weight, bias=@y.x1.bias, residual=%y.x1.residual, \
slope=@y.x1.slope) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=PRelu())} : 8x9x9
        %y = Concat(x0=%y.x0, x1=%y.x1) : 24x9x9
        output "y" = %y (N, C, H, W)
        constant @y.x0.bias : 16 [float32]
        constant @y.x0.slope : 16 [float32]
        constant @y.x0.weight : 16x1x3x3 [float32]
        constant @y.x1.bias : 8 [float32]
        constant @y.x1.slope : 8 [float32]
        constant @y.x1.weight : 8x1x3x3 [float32]
        """,
        partial(split_channels, config=config(lanes=8, feature_depth=68)),
    )


small_pools = partial(split_pools, config=config(lanes=8, feature_depth=64))


def test_split_pools_pools_rows_first() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x129x60
        %y = Pass(x=%x) {pads=(0, 0, 1, 0), tail=Tail(pool=Window(kind='average', kernel=(130, 60)))} : 4x1x1
        %z = Pass(x=%x) {tail=Tail(pool=Window(kind='max', kernel=(1, 60)))} : 4x129x1
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x129x60
        %y.map = Pass(x=%x) {pads=(0, 0, 1, 0)} : 4x130x60
        %y.pool0 = Pass(x=%y.map) {tail=Tail(pool=Window(kind='average', kernel=(1, 60)))} : 4x130x1
        %y.pool1 = Pass(x=%y.pool0) {tail=Tail(pool=Window(kind='average', kernel=(26, 1), stride=(26, 1)))} : 4x5x1
        %y = Pass(x=%y.pool1) {tail=Tail(pool=Window(kind='average', kernel=(5, 1), stride=(5, 1)))} : 4x1x1
        %z = Pass(x=%x) {tail=Tail(pool=Window(kind='max', kernel=(1, 60)))} : 4x129x1
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        """,
        small_pools,
    )


def test_an_average_too_long_is_a_sum_and_what_its_counts_lack() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 4x9x20
        %y = Pass(x=%x) {tail=Tail(pool=Window(kind='average', kernel=(5, 1), pads=(2, 0, 2, 0)))} : 4x9x20
        output "y" = %y (N, C, H, W)
        """
    check(
        text,
        """\
        input "x" = %x (N, C, H, W) : 4x9x20
        %y = Depthwise(x=%x, weight=@y.pool0.weight, table=@y.pool0.table) {kernel=(5, 1), pads=(2, 0, 2, 0), \
tail=Tail(activation=PositionScale(axis='row'))} : 4x9x20
        output "y" = %y (N, C, H, W)
        constant @y.pool0.table : 9 [float32]
        constant @y.pool0.weight : 4x1x5x1 [float32]
        """,
        small_pools,
    )
    split = small_pools(graph_of(text))
    assert np.all(split.array("y.pool0.weight") == 0.5)
    np.testing.assert_allclose(split.array("y.pool0.table"), 2 / np.array([3, 4, 5, 5, 5, 5, 5, 4, 3]))


@pytest.mark.parametrize("seed", range(60))
def test_pools_of_any_size_fit_and_keep_their_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = (int(rng.integers(1, 28)), int(rng.integers(1, 14)))
    top, left, bottom, right = (int(rng.integers(0, taps)) for taps in kernel * 2)
    stride = (int(rng.integers(1, 16)), int(rng.integers(1, 5)))
    window = Window(("max", "average")[seed % 2], kernel, stride, (top, left, bottom, right), bool(seed % 4 // 2))
    size = (int(rng.integers(kernel[0], 40)), int(rng.integers(kernel[1], 90)))
    x = Value("x", (12, *size))
    y = Node(Pass(tail=Tail(pool=window)), {"x": "x"}, Value("y", (12, *window.output_size(size))))
    axes = ("N", "C", "H", "W")
    graph = Graph("test", (x,), (y,), {}, (Port("x", "x", axes),), (Port("y", "y", axes),)).check()
    chosen = config(lanes=8, feature_depth=512, accumulator_positions=320)
    split = split_pools(graph, chosen).check()
    assert_same_outputs(graph, split)
    sliced = split_channels(split_kernels(split, chosen), chosen).check()
    assert_same_outputs(graph, sliced)
    for node in sliced.layers:
        assert layer_fits(sliced, chosen, node), node


def test_a_cascade_keeps_pads_and_strides_of_both_axes() -> None:
    window = Window("average", (5, 4), (2, 3), (1, 2, 3, 0), count_padding=True)
    assert cascade(window, (20, 30), 8, lambda window, *_: 1 in window.kernel) == [
        Window("average", (1, 4), (1, 3), (0, 2, 0, 0), count_padding=True),
        Window("average", (5, 1), (2, 1), (1, 0, 3, 0), count_padding=True),
    ]
    assert cascade(window, (20, 30), 8, lambda *_: True) == [window]


def test_a_long_maximum_is_one_of_overlapping_windows() -> None:
    window = Window("max", (13, 1), (2, 1), (8, 0, 3, 0))
    assert cascade(window, (40, 9), 8, lambda window, *_: window.kernel[0] <= 6) == [
        Window("max", (6, 1), (1, 1), (5, 0, 3, 0)),
        Window("max", (6, 1), (1, 1), (3, 0, 0, 0)),
        Window("max", (3, 1), (2, 1)),
    ]


# -- view_channels, align_concats, compose_selections -----------------------------------------------------------------


def test_view_channels_looks_through_views_and_concatenations() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 32x4x4
        input "r" = %r (N, C, H, W) : 16x4x4
        %c = Concat(x0=%r, x1=%x) : 48x4x4
        %x_again = Channels(x=%c) {start=16, stop=48} : 32x4x4
        %a = Channels(x=%x_again) {start=8, stop=32} : 24x4x4
        %b = Channels(x=%a) {start=8, stop=24} : 16x4x4
        %odd = Channels(x=%x) {start=3, stop=8} : 5x4x4
        output "a" = %x_again (N, C, H, W)
        output "b" = %b (N, C, H, W)
        output "odd" = %odd (N, C, H, W)
        """,
        """\
        input "x" = %x (N, C, H, W) : 32x4x4
        input "r" = %r (N, C, H, W) : 16x4x4
        %b = Channels(x=%x) {start=16, stop=32} : 16x4x4
        %odd = Conv(x=%x, weight=@odd.selection) {kernel=(1, 1)} : 5x4x4
        output "a" = %x (N, C, H, W)
        output "b" = %b (N, C, H, W)
        output "odd" = %odd (N, C, H, W)
        constant @odd.selection : 5x32x1x1 [float32]
        """,
        partial(view_channels, group=8),
    )


def test_align_concats_fills_up_channel_groups_and_leaves_the_zeros_out_again() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 5x4x4
        input "r" = %r (N, C, H, W) : 6x4x4
        %y = Concat(x0=%x, x1=%r) : 11x4x4
        output "y" = %y (N, C, H, W)
        """
    check(
        text,
        """\
        input "x" = %x (N, C, H, W) : 5x4x4
        input "r" = %r (N, C, H, W) : 6x4x4
        %y.x0 = Conv(x=%x, weight=@y.x0.selection) {kernel=(1, 1)} : 8x4x4
        %y.aligned = Concat(x0=%y.x0, x1=%r) : 14x4x4
        %y = Conv(x=%y.aligned, weight=@y.selection) {kernel=(1, 1)} : 11x4x4
        output "y" = %y (N, C, H, W)
        constant @y.selection : 11x14x1x1 [float32]
        constant @y.x0.selection : 8x5x1x1 [float32]
        """,
        partial(align_concats, group=8),
    )
    check_unchanged(text.replace("5x4x4", "8x4x4").replace("11x4x4", "14x4x4"), partial(align_concats, group=8))


REVERSED = selection(np.arange(8)[::-1], 8)
compose = partial(compose_selections, array=ArraySize(c_vec=8, k_vec=8))


def compose_reversed(text: str, weight: NDArray[np.float32] = REVERSED) -> list[str]:
    """The operators and names of a graph with the selection @s after `compose_selections`, which keeps its outputs."""
    graph = graph_of(text, {"s": weight})
    composed = compose(graph).check()
    assert_same_outputs(graph, composed)
    return [f"{node.name}: {type(node.op).__name__}" for node in composed.nodes]


def test_a_shuffle_is_done_by_the_convolution_before_it_with_its_activation() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 8x4x4
        %a = Conv(x=%x, weight=@w, bias=@b, slope=@p) {kernel=(3, 3), tail=Tail(activation=PRelu())} : 8x2x2
        %y = Conv(x=%a, weight=@s) {kernel=(1, 1)} : 8x2x2
        output "y" = %y (N, C, H, W)
        constant @b : 8 [float32]
        constant @p : 8 [float32]
        constant @s : 8x8x1x1 [float32]
        constant @w : 8x8x3x3 [float32]
        """
    assert compose_reversed(text) == ["y: Conv"]
    shown = text.replace("        output", '        output "a" = %a (N, C, H, W)\n        output')
    assert compose_reversed(shown) == ["a: Conv", "y: Conv"]


def test_a_shuffle_is_done_by_the_convolution_after_it_also_beyond_depthwise_layers_and_passes() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 8x6x6
        %a = Conv(x=%x, weight=@s) {kernel=(1, 1)} : 8x6x6
        %b = Depthwise(x=%a, weight=@d, bias=@b) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=Clip())} \
: 8x6x6
        %c = Pass(x=%b) {tail=Tail(pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)))} : 8x3x3
        %y = Conv(x=%c, weight=@w) {kernel=(2, 2)} : 4x2x2
        output "y" = %y (N, C, H, W)
        constant @b : 8 [float32]
        constant @d : 8x1x3x3 [float32]
        constant @s : 8x8x1x1 [float32]
        constant @w : 4x8x2x2 [float32]
        """
    assert compose_reversed(text) == ["b.before_selection: Depthwise", "c.before_selection: Pass", "y: Conv"]


def test_a_selection_stays_where_merging_costs_more() -> None:
    """8 of 64 channels under 5x5 taps: merged, those would be multiplied by 64."""
    text = """\
        input "x" = %x (N, C, H, W) : 64x6x6
        %a = Conv(x=%x, weight=@s) {kernel=(1, 1)} : 8x6x6
        %y = Conv(x=%a, weight=@w) {kernel=(5, 5)} : 8x2x2
        output "y" = %y (N, C, H, W)
        constant @s : 8x64x1x1 [float32]
        constant @w : 8x8x5x5 [float32]
        """
    assert compose_reversed(text, selection(np.arange(8) * 7, 64)) == ["a: Conv", "y: Conv"]
    assert compose_reversed(
        text.replace("5, 5", "1, 1").replace("8x2x2", "8x6x6").replace("8x8x5x5", "8x8x1x1"),
        selection(np.arange(8) * 7, 64),
    ) == ["y: Conv"]
