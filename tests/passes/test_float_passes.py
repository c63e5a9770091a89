"""The passes on the float network, each as text before and after."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import onnx
import pytest

from bfpc.config import Config
from bfpc.frontend.reader import read_model
from bfpc.ir.graph import Node
from bfpc.ir.operators import Window
from bfpc.passes.absorb_pass import absorb_pass
from bfpc.passes.fold_input import fold_input
from bfpc.passes.fold_pad import fold_pad
from bfpc.passes.fold_scale import fold_scale
from bfpc.passes.fuse_tails import fuse_tails
from bfpc.passes.lower_layers import lower_layers
from bfpc.passes.place_concats import place_concats
from bfpc.pipeline import Dump, float_passes, run_passes
from tests.networks.random_networks import random_network
from tests.passes.checks import assert_emulated, assert_same_outputs, check, check_unchanged


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("lanes", [8, 64])
def test_all_of_them_keep_what_a_network_computes(seed: int, lanes: int, tmp_path: Path) -> None:
    onnx.save(random_network(seed), tmp_path / "network.onnx")
    graph = read_model(tmp_path / "network.onnx").graph
    blocks, array = {"block_size": 8}, {"c_vec": lanes, "k_vec": 8}
    config = Config.model_validate({"formats": {"activation": blocks, "weight": blocks}, "architecture": array})
    lowered = run_passes(graph, float_passes(config), Dump(None))
    assert_same_outputs(graph, lowered)
    assert_emulated(lowered)


def any_pool_fits(_: Node, __: Window) -> bool:
    return True


fuse = partial(fuse_tails, pool_fits=any_pool_fits)
place = partial(place_concats, group=32)

# -- fold_pad, fold_scale ---------------------------------------------------------------------------------------------


def test_fold_pad_makes_zeros_around_a_map_the_pads_of_its_readers() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %p = Pad(x=%x) {pads=(1, 0, 2, 3)} : 4x8x8
        %y = Conv(x=%p, weight=@w) {kernel=(3, 3), pads=(0, 1, 0, 1)} : 8x6x8
        %z = Conv(x=%p, weight=@v) {kernel=(1, 1)} : 8x8x8
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @v : 8x4x1x1 [float32]
        constant @w : 8x4x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %y = Conv(x=%x, weight=@w) {kernel=(3, 3), pads=(1, 1, 2, 4)} : 8x6x8
        %z = Conv(x=%x, weight=@v) {kernel=(1, 1), pads=(1, 0, 2, 3)} : 8x8x8
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @v : 8x4x1x1 [float32]
        constant @w : 8x4x3x3 [float32]
        """,
        fold_pad,
    )


def test_fold_pad_leaves_padded_channels_and_pools_alone() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %p = Pad(x=%x) {channels=(0, 4)} : 8x5x5
        %y = Conv(x=%p, weight=@w) {kernel=(1, 1)} : 8x5x5
        %q = Pad(x=%x) {pads=(1, 1, 1, 1)} : 4x7x7
        %z = Pool(x=%q) {window=Window(kind='max', kernel=(7, 7))} : 4x1x1
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 8x8x1x1 [float32]
        """,
        fold_pad,
    )


def test_fold_scale_multiplies_weights_and_biases_and_scales_before() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %c = Conv(x=%x, weight=@w, bias=@b) {kernel=(1, 1)} : 8x5x5
        %d = Scale(x=%c, scale=@s, bias=@t) : 8x5x5
        %y = Scale(x=%d, scale=@t, bias=@s) : 8x5x5
        output "y" = %y (N, C, H, W)
        constant @b : 8 [float32]
        constant @s : 8 [float32]
        constant @t : 8 [float32]
        constant @w : 8x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %y = Conv(x=%x, weight=@y.weight, bias=@y.bias) {kernel=(1, 1)} : 8x5x5
        output "y" = %y (N, C, H, W)
        constant @y.bias : 8 [float32]
        constant @y.weight : 8x4x1x1 [float32]
        """,
        fold_scale,
    )


def test_fold_scale_keeps_a_convolution_that_others_read_or_that_is_an_output() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 8x5x5
        %c = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x5x5
        %y = Scale(x=%c, scale=@s, bias=@t) : 8x5x5
        output "c" = %c (N, C, H, W)
        output "y" = %y (N, C, H, W)
        constant @s : 8 [float32]
        constant @t : 8 [float32]
        constant @w : 8x8x1x1 [float32]
        """,
        fold_scale,
    )


# -- fold_input -------------------------------------------------------------------------------------------------------

FIRST_LAYER = """\
input "x" = %x (N, C, H, W) : 3x8x9
%y = Conv(x=%x, weight=@w) {kernel=(5, 5), stride=(2, 2), pads=(2, 1, 2, 2)} : 8x4x4
output "y" = %y (N, C, H, W)
constant @w : 8x3x5x5 [float32]
"""
SHARED_INPUT = """\
input "x" = %x (N, C, H, W) : 3x8x8
%y = Conv(x=%x, weight=@w) {kernel=(3, 3), stride=(2, 2)} : 8x3x3
%z = Pool(x=%x) {window=Window(kind='max', kernel=(8, 8))} : 3x1x1
output "y" = %y (N, C, H, W)
output "z" = %z (N, C, H, W)
constant @w : 8x3x3x3 [float32]
"""


def test_fold_input_lays_the_kernel_along_many_lanes() -> None:
    check(
        FIRST_LAYER,
        """\
        input "x" = %x (N, C, H, W) : 75x4x4
            fold(source=(3, 8, 9), kernel=(5, 5), stride=(2, 2), pads=(2, 1, 2, 2))
        %y = Conv(x=%x, weight=@y.folded_weight) {kernel=(1, 1)} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @y.folded_weight : 8x75x1x1 [float32]
        """,
        partial(fold_input, lanes=128),
    )


def test_fold_input_lays_one_stride_along_few_lanes() -> None:
    check(
        FIRST_LAYER,
        """\
        input "x" = %x (N, C, H, W) : 30x6x4
            fold(source=(3, 8, 9), kernel=(2, 5), stride=(2, 2), pads=(2, 1, 2, 2))
        %y = Conv(x=%x, weight=@y.folded_weight) {kernel=(3, 1)} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @y.folded_weight : 8x30x3x1 [float32]
        """,
        partial(fold_input, lanes=32),
    )


def test_fold_input_leaves_an_input_that_fills_the_lanes_or_that_two_layers_read() -> None:
    check_unchanged(
        FIRST_LAYER.replace("3x8x9", "64x8x9").replace("8x3x5x5", "8x64x5x5"), partial(fold_input, lanes=64)
    )
    check_unchanged(SHARED_INPUT, partial(fold_input, lanes=64))


# -- lower_layers, absorb_pass ----------------------------------------------------------------------------------------


def test_lower_layers_makes_layers_of_every_operator() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %depthwise = Conv(x=%x, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1), groups=4} : 4x8x8
        %grouped = Conv(x=%depthwise, weight=@g) {kernel=(1, 1), groups=2} : 6x8x8
        %scaled = Scale(x=%grouped, scale=@s, bias=@t) : 6x8x8
        %active = Activate(x=%scaled, slope=@s) {activation=PRelu()} : 6x8x8
        %sum = Add(x=%active, residual=%scaled) : 6x8x8
        %pooled = Pool(x=%sum) {window=Window(kind='average', kernel=(2, 2), stride=(2, 2))} : 6x4x4
        %padded = Pad(x=%pooled) {pads=(1, 0, 0, 0)} : 6x5x4
        %wider = Pad(x=%padded) {channels=(1, 2)} : 9x5x4
        %cropped = Slice(x=%wider) {start=(0, 1, 0), stop=(9, 5, 4), step=(1, 2, 2)} : 9x2x2
        %some = Slice(x=%cropped) {start=(1, 0, 0), stop=(9, 2, 2), step=(3, 1, 1)} : 3x2x2
        output "y" = %some (N, C, H, W)
        constant @g : 6x2x1x1 [float32]
        constant @s : 6 [float32]
        constant @t : 6 [float32]
        constant @w : 4x1x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %depthwise = Depthwise(x=%x, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 4x8x8
        %grouped = Conv(x=%depthwise, weight=@grouped.weight) {kernel=(1, 1)} : 6x8x8
        %scaled = Depthwise(x=%grouped, weight=@scaled.weight, bias=@t) {kernel=(1, 1)} : 6x8x8
        %active = Pass(x=%scaled, slope=@s) {tail=Tail(activation=PRelu())} : 6x8x8
        %sum = Pass(x=%active, residual=%scaled) : 6x8x8
        %pooled = Pass(x=%sum) {tail=Tail(pool=Window(kind='average', kernel=(2, 2), stride=(2, 2)))} : 6x4x4
        %padded = Pass(x=%pooled) {pads=(1, 0, 0, 0)} : 6x5x4
        %wider = Conv(x=%padded, weight=@wider.selection) {kernel=(1, 1)} : 9x5x4
        %cropped = Pass(x=%wider) {stride=(2, 2), pads=(-1, 0, -1, -1)} : 9x2x2
        %some = Conv(x=%cropped, weight=@some.selection) {kernel=(1, 1)} : 3x2x2
        output "y" = %some (N, C, H, W)
        constant @grouped.weight : 6x4x1x1 [float32]
        constant @s : 6 [float32]
        constant @scaled.weight : 6x1x1x1 [float32]
        constant @some.selection : 3x9x1x1 [float32]
        constant @t : 6 [float32]
        constant @w : 4x1x3x3 [float32]
        constant @wider.selection : 9x6x1x1 [float32]
        """,
        lower_layers,
    )


def test_absorb_pass_strides_and_crops_in_the_one_tap_layers_that_follow() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x9x9
        %p = Pass(x=%x) {stride=(2, 3), pads=(1, -2, 0, -1)} : 4x5x2
        %y = Conv(x=%p, weight=@w) {kernel=(1, 1), stride=(2, 1), pads=(0, -1, 0, 0)} : 8x3x1
        %z = Pass(x=%p) {tail=Tail(activation=Clip())} : 4x5x2
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 8x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x9x9
        %y = Conv(x=%x, weight=@w) {kernel=(1, 1), stride=(4, 3), pads=(1, -5, -1, -3)} : 8x3x1
        %z = Pass(x=%x) {stride=(2, 3), pads=(1, -2, -1, -3), tail=Tail(activation=Clip())} : 4x5x2
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 8x4x1x1 [float32]
        """,
        absorb_pass,
    )


def test_absorb_pass_leaves_wider_kernels_and_passes_with_a_tail() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x9x9
        %p = Pass(x=%x) {stride=(2, 2)} : 4x5x5
        %y = Conv(x=%p, weight=@w) {kernel=(3, 3)} : 8x3x3
        %q = Pass(x=%x) {stride=(2, 2), tail=Tail(activation=Clip())} : 4x5x5
        %z = Pass(x=%q) {stride=(2, 2)} : 4x3x3
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 8x4x3x3 [float32]
        """,
        absorb_pass,
    )


# -- fuse_tails -------------------------------------------------------------------------------------------------------


def test_fuse_tails_merges_residual_activation_and_pool_into_the_later_convolution() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x8x8
        %b = Conv(x=%x, weight=@v) {kernel=(1, 1)} : 8x8x8
        %sum = Pass(x=%b, residual=%a) : 8x8x8
        %active = Pass(x=%sum) {tail=Tail(activation=Clip(high=6.0))} : 8x8x8
        %y = Pass(x=%active) {tail=Tail(pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)))} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @v : 8x4x1x1 [float32]
        constant @w : 8x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x8x8
        %y = Conv(x=%x, weight=@v, residual=%a) {kernel=(1, 1), tail=Tail(activation=Clip(high=6.0), \
pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)))} : 8x4x4
        output "y" = %y (N, C, H, W)
        constant @v : 8x4x1x1 [float32]
        constant @w : 8x4x1x1 [float32]
        """,
        fuse,
    )


def test_fuse_tails_keeps_what_a_tail_does_in_another_order() -> None:
    """An activation before a sum, two activations, anything after a pool, and a map that is an output or read twice."""
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1), tail=Tail(activation=Clip())} : 4x8x8
        %b = Pass(x=%a, residual=%x) : 4x8x8
        %c = Conv(x=%b, weight=@w) {kernel=(1, 1), tail=Tail(activation=Clip())} : 4x8x8
        %d = Pass(x=%c) {tail=Tail(activation=Clip(low=-1.0, high=1.0))} : 4x8x8
        %e = Conv(x=%d, weight=@w) {kernel=(1, 1), tail=Tail(pool=Window(kind='max', kernel=(2, 2)))} : 4x7x7
        %f = Pass(x=%e) {tail=Tail(activation=Clip())} : 4x7x7
        %g = Conv(x=%f, weight=@w) {kernel=(1, 1)} : 4x7x7
        %h = Pass(x=%g) {tail=Tail(activation=Clip())} : 4x7x7
        %i = Pass(x=%h, residual=%h) : 4x7x7
        output "g" = %g (N, C, H, W)
        output "i" = %i (N, C, H, W)
        constant @w : 4x4x1x1 [float32]
        """,
        fuse,
    )


def test_fuse_tails_asks_whether_a_pool_fits() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 4x8x8
        %y = Pass(x=%a) {tail=Tail(pool=Window(kind='average', kernel=(8, 8)))} : 4x1x1
        output "y" = %y (N, C, H, W)
        constant @w : 4x4x1x1 [float32]
        """,
        partial(fuse_tails, pool_fits=lambda _, __: False),
    )


# -- place_concats ----------------------------------------------------------------------------------------------------


def test_place_concats_leaves_layers_that_write_in_place() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b = Pass(x=%x) : 4x8x8
        %y = Concat(x0=%a, x1=%b) : 36x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 32x4x1x1 [float32]
        """,
        place,
    )


def test_place_concats_copies_maps_that_are_written_elsewhere() -> None:
    """The network's input, a map used twice, and a concatenation in a concatenation."""
    check(
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b = Concat(x0=%x, x1=%a) : 64x8x8
        %y = Concat(x0=%b, x1=%a, x2=%a) : 128x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 32x32x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b.x0 = Pass(x=%x) : 32x8x8
        %b = Concat(x0=%b.x0, x1=%a) : 64x8x8
        %y.x0 = Pass(x=%b) : 64x8x8
        %y.x1 = Pass(x=%a) : 32x8x8
        %y.x2 = Pass(x=%a) : 32x8x8
        %y = Concat(x0=%y.x0, x1=%y.x1, x2=%y.x2) : 128x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 32x32x1x1 [float32]
        """,
        place,
    )


def test_place_concats_sums_selections_off_the_channel_groups() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x8x8
        %y = Concat(x0=%a, x1=%x, x2=%a) : 20x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 8x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 8x8x8
        %y.x0 = Conv(x=%a, weight=@y.x0.selection) {kernel=(1, 1)} : 20x8x8
        %y.x1 = Conv(x=%x, weight=@y.x1.selection, residual=%y.x0) {kernel=(1, 1)} : 20x8x8
        %y = Conv(x=%a, weight=@y.x2.selection, residual=%y.x1) {kernel=(1, 1)} : 20x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 8x4x1x1 [float32]
        constant @y.x0.selection : 20x8x1x1 [float32]
        constant @y.x1.selection : 20x4x1x1 [float32]
        constant @y.x2.selection : 20x8x1x1 [float32]
        """,
        place,
    )
