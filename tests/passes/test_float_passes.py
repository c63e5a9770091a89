"""The passes on the float network, each as text before and after."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bfpc.config import Config
from bfpc.frontend.reader import read_model
from bfpc.ir.graph import Node
from bfpc.passes.absorb_pass import absorb_pass
from bfpc.passes.fold_input import fold_input
from bfpc.passes.fold_scale import fold_scale
from bfpc.passes.fuse_tails import fuse_tails, tail_fits
from bfpc.passes.lower_layers import lower_layers
from bfpc.passes.place_concats import place_concats
from bfpc.pipeline import Dump, float_passes, run_passes
from tests.networks.random_networks import random_network
from tests.passes.checks import assert_emulated, assert_same_outputs, check, check_unchanged, graph_of


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


def test_passes_make_constants_beside_those_of_the_network(tmp_path: Path) -> None:
    """Two convolutions share weights with the name that `fold_scale` gives to those it scales for one of them."""
    rng, form = np.random.default_rng(1), (TensorProto.FLOAT, (1, 4, 3, 3))
    constants = [("y.weight", rng.standard_normal((4, 4, 1, 1))), ("scale", rng.standard_normal((4, 1, 1)))]
    nodes = [("Conv", ["x", "y.weight"], "a"), ("Mul", ["a", "scale"], "y"), ("Conv", ["y", "y.weight"], "z")]
    network = helper.make_graph(
        [helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes],
        "shared",
        [helper.make_tensor_value_info("x", *form)],
        [helper.make_tensor_value_info("z", *form)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants],
    )
    onnx.save(helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "network.onnx")
    graph = read_model(tmp_path / "network.onnx").graph
    assert_same_outputs(graph, run_passes(graph, float_passes(Config()), Dump(None)))


def anything_fits(_: Node) -> bool:
    return True


fuse = partial(fuse_tails, fits=anything_fits)
place = partial(place_concats, group=32)

# -- fold_scale -------------------------------------------------------------------------------------------------------


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
        %difference = Elementwise(x=%active, residual=%scaled) {operation='subtract'} : 6x8x8
        %pooled = Pool(x=%difference) {window=Window(kind='average', kernel=(2, 2), stride=(2, 2))} : 6x4x4
        %padded = Pad(x=%pooled) {pads=(1, 0, 0, 0), mode='edge'} : 6x5x4
        %wider = Pad(x=%padded) {pads=(0, 0, 0, 1), channels=(1, 2), value=0.5} : 9x5x5
        %cropped = Slice(x=%wider) {start=(2, 1, 0), stop=(9, 5, 4), step=(1, 2, 2)} : 7x2x2
        %some = Slice(x=%cropped) {start=(1, 0, 0), stop=(7, 2, 2), step=(3, 1, 1)} : 2x2x2
        output "y" = %some (N, C, H, W)
        constant @g : 6x2x1x1 [float32]
        constant @s : 6 [float32]
        constant @t : 6 [float32]
        constant @w : 4x1x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %depthwise = Depthwise(x=%x, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 4x8x8
        %grouped = Conv(x=%depthwise, weight=@g) {kernel=(1, 1), groups=2} : 6x8x8
        %scaled = Depthwise(x=%grouped, weight=@scaled.weight, bias=@t) {kernel=(1, 1)} : 6x8x8
        %active = Pass(x=%scaled, slope=@s) {tail=Tail(activation=PRelu())} : 6x8x8
        %difference = Pass(x=%active, residual=%scaled) {tail=Tail(residual='subtract')} : 6x8x8
        %pooled = Pass(x=%difference) {tail=Tail(pool=Window(kind='average', kernel=(2, 2), stride=(2, 2)))} : 6x4x4
        %padded = Pass(x=%pooled) {pads=(1, 0, 0, 0), pad_mode='edge'} : 6x5x4
        %wider.pass = Pass(x=%padded) {pads=(0, 0, 0, 1), pad_value=0.5} : 6x5x5
        %wider = Conv(x=%wider.pass, weight=@wider.selection) {kernel=(1, 1)} : 9x5x5
        %cropped.channels = Channels(x=%wider) {start=2, stop=9} : 7x5x5
        %cropped = Pass(x=%cropped.channels) {stride=(2, 2), pads=(-1, 0, -1, -2)} : 7x2x2
        %some = Conv(x=%cropped, weight=@some.selection) {kernel=(1, 1)} : 2x2x2
        output "y" = %some (N, C, H, W)
        constant @g : 6x2x1x1 [float32]
        constant @s : 6 [float32]
        constant @scaled.weight : 6x1x1x1 [float32]
        constant @some.selection : 2x7x1x1 [float32]
        constant @t : 6 [float32]
        constant @w : 4x1x3x3 [float32]
        constant @wider.selection : 9x6x1x1 [float32]
        """,
        lower_layers,
    )


def test_lower_layers_makes_a_filter_as_large_as_the_dilation_of_the_input() -> None:
    """A transposed convolution with gaps: stride 3, kernel 1 and 2."""
    check(
        """\
        input "x" = %x (N, C, H, W) : 2x4x4
        %y = Conv(x=%x, weight=@w) {kernel=(1, 2), pads=(0, 1, 0, 1), input_dilation=(3, 3)} : 2x10x11
        output "y" = %y (N, C, H, W)
        constant @w : 2x2x1x2 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 2x4x4
        %y = Conv(x=%x, weight=@y.widened_weight) {kernel=(3, 3), pads=(0, 1, 2, 2), input_dilation=(3, 3)} : 2x10x11
        output "y" = %y (N, C, H, W)
        constant @y.widened_weight : 2x2x3x3 [float32]
        """,
        lower_layers,
    )


def test_absorb_pass_pads_and_crops_in_any_layer() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %p = Pass(x=%x) {pads=(1, -1, 2, 3)} : 4x8x7
        %y = Conv(x=%p, weight=@w) {kernel=(3, 3), pads=(0, 0, 1, 1)} : 8x7x6
        %e = Pass(x=%x) {pads=(1, 1, 1, 1), pad_mode='edge'} : 4x7x7
        %z = Depthwise(x=%e, weight=@v) {kernel=(3, 3), input_dilation=(2, 2)} : 4x11x11
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @v : 4x1x3x3 [float32]
        constant @w : 8x4x3x3 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %y = Conv(x=%x, weight=@w) {kernel=(3, 3), pads=(1, -1, 3, 4)} : 8x7x6
        %z = Depthwise(x=%x, weight=@v) {kernel=(3, 3), pads=(2, 2, 2, 2), input_dilation=(2, 2), pad_mode='edge'} \
: 4x11x11
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @v : 4x1x3x3 [float32]
        constant @w : 8x4x3x3 [float32]
        """,
        absorb_pass,
    )


def test_absorb_pass_does_not_mix_zeros_with_other_pads() -> None:
    """Edges within zeros, a value within zeros, zeros around what was cropped, a value that a filter would see."""
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x5x5
        %e = Pass(x=%x) {pads=(1, 1, 1, 1), pad_mode='edge'} : 4x7x7
        %a = Conv(x=%e, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x7x7
        %v = Pass(x=%x) {pads=(1, 1, 1, 1), pad_value=0.5} : 4x7x7
        %b = Pass(x=%v) {pads=(1, 1, 1, 1)} : 4x9x9
        %c = Pass(x=%x) {pads=(-1, 0, 0, 0)} : 4x4x5
        %d = Conv(x=%c, weight=@w) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x4x5
        %f = Conv(x=%v, weight=@w) {kernel=(3, 3)} : 8x5x5
        output "a" = %a (N, C, H, W)
        output "b" = %b (N, C, H, W)
        output "d" = %d (N, C, H, W)
        output "f" = %f (N, C, H, W)
        constant @w : 8x4x3x3 [float32]
        """,
        absorb_pass,
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


def test_fuse_tails_subtracts_and_multiplies_where_the_order_allows() -> None:
    """A difference has one, a product has none; a residual of one position stays the residual."""
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 4x8x8
        %p = Pass(x=%x, residual=%a) {tail=Tail(residual='multiply')} : 4x8x8
        %b = Conv(x=%p, weight=@w) {kernel=(1, 1)} : 4x8x8
        %q = Pass(x=%b, residual=%x) {tail=Tail(residual='subtract')} : 4x8x8
        %c = Conv(x=%q, weight=@w) {kernel=(1, 1)} : 4x8x8
        %r = Pass(x=%q, residual=%c) {tail=Tail(residual='subtract')} : 4x8x8
        %d = Conv(x=%r, weight=@v) {kernel=(8, 8), tail=Tail(activation=Table(steps=(('sigmoid',),)))} : 4x1x1
        %s = Pass(x=%r, residual=%d) {tail=Tail(residual='multiply')} : 4x8x8
        output "y" = %s (N, C, H, W)
        constant @v : 4x4x8x8 [float32]
        constant @w : 4x4x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %p = Conv(x=%x, weight=@w, residual=%x) {kernel=(1, 1), tail=Tail(residual='multiply')} : 4x8x8
        %q = Conv(x=%p, weight=@w, residual=%x) {kernel=(1, 1), tail=Tail(residual='subtract')} : 4x8x8
        %c = Conv(x=%q, weight=@w) {kernel=(1, 1)} : 4x8x8
        %r = Pass(x=%q, residual=%c) {tail=Tail(residual='subtract')} : 4x8x8
        %d = Conv(x=%r, weight=@v) {kernel=(8, 8), tail=Tail(activation=Table(steps=(('sigmoid',),)))} : 4x1x1
        %s = Pass(x=%r, residual=%d) {tail=Tail(residual='multiply')} : 4x8x8
        output "y" = %s (N, C, H, W)
        constant @v : 4x4x8x8 [float32]
        constant @w : 4x4x1x1 [float32]
        """,
        fuse,
    )


@pytest.mark.parametrize(("exponent_range", "fits"), [(7, True), (31, False)])
def test_a_product_of_maps_stays_a_layer_by_itself_where_the_tail_might_overflow(
    exponent_range: int, fits: bool
) -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 4x8x8
        %y = Pass(x=%a, residual=%x) {tail=Tail(residual='multiply')} : 4x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 4x4x1x1 [float32]
        """
    graph = graph_of(text)
    wide = Config.model_validate({"formats": {"activation": {"exponent_range": exponent_range}}})
    assert (len(fuse_tails(graph, partial(tail_fits, graph, wide)).nodes) == 1) == fits


@pytest.mark.parametrize(("exponent_range", "fits"), [(7, True), (31, False)])
def test_the_scale_of_rows_goes_into_the_layer_before_where_the_tail_has_room(exponent_range: int, fits: bool) -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Depthwise(x=%x, weight=@w) {kernel=(2, 1), pads=(0, 0, 1, 0)} : 4x8x8
        %y = Pass(x=%a, table=@t) {tail=Tail(activation=PositionScale(axis='row'))} : 4x8x8
        output "y" = %y (N, C, H, W)
        constant @t : 8 [float32]
        constant @w : 4x1x2x1 [float32]
        """
    graph = graph_of(text)
    wide = Config.model_validate({"formats": {"activation": {"exponent_range": exponent_range}}})
    fused = fuse_tails(graph, partial(tail_fits, graph, wide)).check()
    assert_same_outputs(graph, fused)
    assert (len(fused.nodes) == 1) == fits


def test_fuse_tails_asks_whether_a_pool_fits() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 4x8x8
        %y = Pass(x=%a) {tail=Tail(pool=Window(kind='average', kernel=(8, 8)))} : 4x1x1
        output "y" = %y (N, C, H, W)
        constant @w : 4x4x1x1 [float32]
        """,
        partial(fuse_tails, fits=lambda _: False),
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
    """The network's input, a view of channels, and maps that are joined already."""
    check(
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 64x8x8
        %v = Channels(x=%a) {start=32, stop=64} : 32x8x8
        %b = Concat(x0=%x, x1=%a) : 96x8x8
        %y = Concat(x0=%v, x1=%a, x2=%a) : 160x8x8
        output "b" = %b (N, C, H, W)
        output "y" = %y (N, C, H, W)
        constant @w : 64x32x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 64x8x8
        %v = Channels(x=%a) {start=32, stop=64} : 32x8x8
        %b.x0 = Pass(x=%x) : 32x8x8
        %b = Concat(x0=%b.x0, x1=%a) : 96x8x8
        %y.x0 = Pass(x=%v) : 32x8x8
        %y.x1 = Pass(x=%a) : 64x8x8
        %y.x2 = Pass(x=%a) : 64x8x8
        %y = Concat(x0=%y.x0, x1=%y.x1, x2=%y.x2) : 160x8x8
        output "b" = %b (N, C, H, W)
        output "y" = %y (N, C, H, W)
        constant @w : 64x32x1x1 [float32]
        """,
        place,
    )


def test_place_concats_copies_nothing_where_each_layer_appends_to_all_before() -> None:
    """DenseNet, written as concatenations of concatenations or of all maps so far: the memory holds one map."""
    check(
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b = Conv(x=%a, weight=@w) {kernel=(1, 1)} : 32x8x8
        %ab = Concat(x0=%a, x1=%b) : 64x8x8
        %c = Conv(x=%ab, weight=@v) {kernel=(1, 1)} : 32x8x8
        %abc = Concat(x0=%a, x1=%b, x2=%c) : 96x8x8
        %d = Conv(x=%abc, weight=@u) {kernel=(1, 1)} : 32x8x8
        %abcd = Concat(x0=%abc, x1=%d) : 128x8x8
        output "y" = %abcd (N, C, H, W)
        constant @u : 32x96x1x1 [float32]
        constant @v : 32x64x1x1 [float32]
        constant @w : 32x32x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b = Conv(x=%a, weight=@w) {kernel=(1, 1)} : 32x8x8
        %ab = Concat(x0=%a, x1=%b) : 64x8x8
        %c = Conv(x=%ab, weight=@v) {kernel=(1, 1)} : 32x8x8
        %abc = Concat(x0=%ab, x1=%c) : 96x8x8
        %d = Conv(x=%abc, weight=@u) {kernel=(1, 1)} : 32x8x8
        %abcd = Concat(x0=%abc, x1=%d) : 128x8x8
        output "y" = %abcd (N, C, H, W)
        constant @u : 32x96x1x1 [float32]
        constant @v : 32x64x1x1 [float32]
        constant @w : 32x32x1x1 [float32]
        """,
        place,
    )
