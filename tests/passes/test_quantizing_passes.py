"""The passes from the calibrated float network to the quantized one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from bfpc.config import Config
from bfpc.emulator.session import Emulator
from bfpc.errors import CapacityError, DataError
from bfpc.ir.graph import Constant
from bfpc.ir.operators import Table
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.functions import Step
from bfpc.numerics.layer import LayerArithmetic
from bfpc.passes.assign_domains import assign_domains, choose_domain
from bfpc.passes.assign_formats import assign_formats, find_non_negative, top_of, unused_overrides
from bfpc.passes.calibrate import calibrate
from bfpc.passes.correct_bias import mean_sums
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.passes.quantize_weights import quantize_weights
from bfpc.pipeline import prepare
from tests.networks import float_reference
from tests.passes.checks import check_text, graph_of, text_of

NETWORK = """\
input "x" = %x (N, C, H, W) : 4x8x8
%a = Conv(x=%x, weight=@w, bias=@b) {kernel=(3, 3), tail=Tail(activation=Clip())} : 8x6x6
%d = Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x6x6
%p = Pass(x=%a) {tail=Tail(pool=Window(kind='max', kernel=(1, 1)))} : 8x6x6
%y = Concat(x0=%p, x1=%d) : 16x6x6
output "y" = %y (N, C, H, W)
constant @b : 8 [float32]
constant @v : 8x1x3x3 [float32]
constant @w : 8x4x3x3 [float32]
"""
RESIDUAL = """\
input "x" = %x (N, C, H, W) : 4x8x8
%y = Conv(x=%x, weight=@w, bias=@b, residual=%x) {kernel=(1, 1)} : 4x8x8
output "y" = %y (N, C, H, W)
constant @b : 4 [float32]
constant @w : 4x4x1x1 [float32]
"""
LARGEST = {"x": 2.0, "a": 3.9, "d": 1.0, "p": 0.0, "y": 4.0}


def config(**sections: object) -> Config:
    return Config.model_validate(sections)


# -- calibrate --------------------------------------------------------------------------------------------------------


def test_calibration_sees_the_largest_magnitude_of_every_value() -> None:
    graph = graph_of(NETWORK)
    images = [np.random.default_rng(seed).standard_normal((1, 4, 8, 8), np.float32) for seed in range(3)]
    found = calibrate(graph, [{"x": image} for image in images], prepare)
    values = float_reference.evaluate(graph, {"x": np.concatenate(images)})
    assert found.largest == {name: pytest.approx(np.abs(maps).max(), rel=1e-5) for name, maps in values.items()}


TABLES = """\
input "x" = %x (N, C, H, W) : 4x8x8
%a = Conv(x=%x, weight=@w, residual=%x) {kernel=(1, 1), tail=Tail(activation=Table(steps=(('sigmoid',),), gated=True), \
pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)), residual='subtract')} : 4x4x4
%y = Pass(x=%a) {tail=Tail(activation=Table(steps=(('exp',),)))} : 4x4x4
output "y" = %y (N, C, H, W)
constant @w : 4x4x1x1 [float32]
"""


def test_calibration_sees_the_range_of_what_tables_are_applied_to() -> None:
    graph = graph_of(TABLES)
    images = [np.random.default_rng(seed).standard_normal((1, 4, 8, 8), np.float32) for seed in range(2)]
    found = calibrate(graph, [{"x": image} for image in images], prepare)
    x = np.concatenate(images).astype(np.float64)
    a = np.einsum("oi,bihw->bohw", graph.array("w")[:, :, 0, 0], x) - x
    y = float_reference.evaluate(graph, {"x": x})["a"]
    assert found.domains.keys() == {"a", "y"}
    assert found.domains["a"] == pytest.approx((a.min(), a.max()), rel=1e-5)
    assert found.domains["y"] == pytest.approx((y.min(), y.max()), rel=1e-5)


@pytest.mark.parametrize(
    "op",
    [
        "Conv(x=%x, weight=@w) {kernel=(3, 2), stride=(2, 1), pads=(1, -1, 2, 1), dilation=(1, 2)} : 5x4x5",
        "Conv(x=%x, weight=@w) {kernel=(3, 2), pads=(2, 1, 1, 2), pad_mode='reflect'} : 5x8x9",
        "Conv(x=%x, weight=@w) {kernel=(3, 2), pads=(2, 0, 3, 1), input_dilation=(2, 2)} : 5x16x13",
        "Conv(x=%x, weight=@w) {kernel=(3, 2), pads=(3, -1, 0, 3), input_dilation=(3, 2), pad_mode='edge'} : 5x20x14",
    ],
)
def test_the_mean_sum_of_a_convolution_knows_its_pads_and_dilations(op: str) -> None:
    graph = graph_of(
        f"""\
        input "x" = %x (N, C, H, W) : 4x7x7
        %y = {op}
        output "y" = %y (N, C, H, W)
        constant @w : 5x4x3x2 [float32]
        """
    )
    x = np.random.default_rng(0).standard_normal((2, 4, 7, 7), np.float32) + np.float32(0.5)
    node = graph.nodes[0]
    sums = float_reference.evaluate(graph, {"x": x})["y"]
    found = mean_sums(graph, node, graph.array("w"), x)
    np.testing.assert_allclose(found, sums.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


# -- assign_domains ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "gated", "found", "low", "high"),
    [
        ((("tanh",),), False, (-1.0, 1.0), -1.25, 1.25),  # wider by an eighth of the range on either side
        ((("sigmoid",),), False, (-30.0, 4.0), -11.1, 8.25),  # no farther than where it is constant
        ((("sigmoid",),), True, (-30.0, 4.0), -11.4, 7.85),
        ((("reciprocal",),), False, (0.5, 8.5), 0.25, 9.5),  # not to where it runs off
        ((("exp",),), False, (0.0, 20.0), 9.6, 20.7),
        ((("sqrt",),), False, (0.0, 8.0), 0.0, 9.0),
        ((("sigmoid",),), False, (3.0, 3.0), 2.625, 3.375),  # nothing but one number was seen
    ],
)
def test_a_domain_is_what_was_found_and_a_bit_more(
    steps: tuple[Step, ...], gated: bool, found: tuple[float, float], low: float, high: float
) -> None:
    assert choose_domain(Table(steps, gated), *found) == pytest.approx((low, high), abs=0.1)


def test_assign_domains_puts_them_into_the_tables() -> None:
    graph = assign_domains(graph_of(TABLES), {"a": (-1.0, 1.0), "y": (0.0, 1.0)})
    tables = [node.layer.tail.activation for node in graph.nodes]
    assert all(isinstance(table, Table) and table.domain is not None for table in tables)


# -- assign_formats ---------------------------------------------------------------------------------------------------


def test_assign_formats_puts_windows_above_the_largest_values_and_drops_signs() -> None:
    """2.0 is the smallest number that a window below 2**1 cannot hold; inputs of a concatenation share its format."""
    check_text(
        NETWORK,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8 [int8bfp/16 r7 e-12]
        %a = Conv(x=%x, weight=@w, bias=@b) {kernel=(3, 3), tail=Tail(activation=Clip())} : 8x6x6 [uint8bfp/16 r7 e-13]
        %d = Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x6x6 [int8bfp/16 r7 e-11]
        %p = Pass(x=%a) {tail=Tail(pool=Window(kind='max', kernel=(1, 1)))} : 8x6x6 [int8bfp/16 r7 e-11]
        %y = Concat(x0=%p, x1=%d) : 16x6x6 [int8bfp/16 r7 e-11]
        output "y" = %y (N, C, H, W)
        constant @b : 8 [float32]
        constant @v : 8x1x3x3 [float32]
        constant @w : 8x4x3x3 [float32]
        """,
        partial(assign_formats, config=config(), largest=LARGEST),
    )


@pytest.mark.parametrize(
    ("largest", "top"), [(0.0, 0), (1.0, 1), (0.999, 0), (2.0, 2), (3.999, 2), (2.0**-20, -19), (1e30, 100)]
)
def test_the_window_ends_at_the_next_power_of_two(largest: float, top: int) -> None:
    assert top_of(largest) == top
    format = BfpFormat(5, 16, 7).with_top(top)
    assert format.exponent + format.exponent_range + format.magnitude_bits == top


def test_a_config_that_wants_signs_keeps_them() -> None:
    formats = {"activation": {"unsigned": False}}
    graph = assign_formats(graph_of(NETWORK), config(formats=formats), LARGEST)
    assert all(node.output.format is not None and node.output.format.signed for node in graph.nodes)


def test_overrides_by_name_operator_and_position_apply_in_order() -> None:
    overrides = [
        {"operator": "Conv", "activation": {"mantissa_bits": 5}},
        {"name": "a*", "activation": {"exponent_range": 2}},
        {"position": "last", "activation": {"mantissa_bits": 3}},
        {"operator": "Concat", "activation": {"mantissa_bits": 6}},
        {"name": "nothing"},
    ]
    graph = graph_of(NETWORK)
    chosen = config(formats={"output": {"mantissa_bits": 9}}, overrides=overrides)
    assigned = assign_formats(graph, chosen, LARGEST)
    formats = {node.name: node.output.format for node in assigned.nodes}
    assert str(formats["a"]) == "uint5bfp/16"
    assert formats["a"] is not None
    assert formats["a"].exponent_range == 2
    assert {str(formats[name]) for name in ("d", "p", "y")} == {"int6bfp/16"}
    assert unused_overrides(graph, chosen) == ("no layer matches the override name: nothing",)


def test_only_what_no_input_can_make_negative_is_unsigned() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %relu = Pass(x=%x) {tail=Tail(activation=Clip())} : 4x8x8
        %clip = Pass(x=%x) {tail=Tail(activation=Clip(low=-1.0, high=1.0))} : 4x8x8
        %pooled = Pass(x=%relu) {tail=Tail(pool=Window(kind='average', kernel=(2, 2)))} : 4x7x7
        %sum = Pass(x=%relu, residual=%relu) : 4x8x8
        %mixed = Pass(x=%relu, residual=%clip) : 4x8x8
        %conv = Conv(x=%relu, weight=@w) {kernel=(1, 1)} : 4x8x8
        %leaky = Pass(x=%relu, slope=@s) {tail=Tail(activation=PRelu())} : 4x8x8
        %both = Concat(x0=%sum, x1=%relu) : 8x8x8
        %either = Concat(x0=%sum, x1=%conv) : 8x8x8
        output "a" = %both (N, C, H, W)
        constant @s : 4 [float32]
        constant @w : 4x4x1x1 [float32]
        """
    assert find_non_negative(graph_of(text)) == {"relu", "pooled", "sum", "both"}


def test_products_pads_views_and_tables_may_be_non_negative_differences_never() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %relu = Pass(x=%x) {tail=Tail(activation=Clip())} : 4x8x8
        %square = Pass(x=%relu, residual=%relu) {tail=Tail(residual='multiply')} : 4x8x8
        %less = Pass(x=%relu, residual=%relu) {tail=Tail(residual='subtract')} : 4x8x8
        %view = Channels(x=%square) {start=0, stop=2} : 2x8x8
        %ones = Pass(x=%relu) {pads=(1, 1, 1, 1), pad_value=1.0} : 4x10x10
        %negative = Pass(x=%relu) {pads=(1, 1, 1, 1), pad_value=-1.0} : 4x10x10
        %sigmoid = Pass(x=%x) {tail=Tail(activation=Table(steps=(('sigmoid',),), domain=(-9.0, 9.0)))} : 4x8x8
        %silu = Pass(x=%x) {tail=Tail(activation=Table(steps=(('sigmoid',),), gated=True, domain=(-9.0, 9.0)))} : 4x8x8
        %above = Pass(x=%x) {tail=Tail(activation=Table(steps=(('tanh',),), gated=True, domain=(0.0, 9.0)))} : 4x8x8
        %log = Pass(x=%x) {tail=Tail(activation=Table(steps=(('log',),), domain=(0.5, 9.0)))} : 4x8x8
        output "a" = %view (N, C, H, W)
        output "b" = %less (N, C, H, W)
        output "c" = %ones (N, C, H, W)
        output "d" = %negative (N, C, H, W)
        output "e" = %sigmoid (N, C, H, W)
        output "f" = %silu (N, C, H, W)
        output "g" = %above (N, C, H, W)
        output "h" = %log (N, C, H, W)
        """
    assert find_non_negative(graph_of(text)) == {"relu", "square", "view", "ones", "sigmoid", "above"}


def test_maps_joined_and_seen_in_part_share_one_format() -> None:
    text = """\
        input "x" = %x (N, C, H, W) : 32x8x8
        %a = Conv(x=%x, weight=@w) {kernel=(1, 1)} : 32x8x8
        %b = Conv(x=%a, weight=@w) {kernel=(1, 1)} : 32x8x8
        %ab = Concat(x0=%a, x1=%b) : 64x8x8
        %v = Channels(x=%ab) {start=32, stop=64} : 32x8x8
        %c = Conv(x=%v, weight=@w) {kernel=(1, 1)} : 32x8x8
        %y = Concat(x0=%ab, x1=%c) : 96x8x8
        output "y" = %y (N, C, H, W)
        constant @w : 32x32x1x1 [float32]
        """
    largest = {"x": 1.0, "a": 1.0, "b": 3.0, "ab": 3.0, "v": 3.0, "c": 100.0, "y": 100.0}
    assigned = assign_formats(graph_of(text), config(), largest)
    assert {assigned.format(name).exponent for name in ("a", "b", "ab", "v", "c", "y")} == {7 - 7 - 7}


# -- quantize_weights -------------------------------------------------------------------------------------------------


def test_quantize_weights_replaces_them_by_tensors_whose_windows_hold_them() -> None:
    graph = assign_formats(graph_of(NETWORK), config(), LARGEST)
    formats = {"weight": {"mantissa_bits": 4, "block_size": 4}, "depthwise_weight": {"mantissa_bits": 9}}
    quantized = quantize_weights(graph, config(formats=formats))
    assert [line for line in text_of(quantized).splitlines() if "constant" in line] == [
        "constant @b : 8 [float32]",
        "constant @v : 8x1x3x3 [int9bfp/9 r3 e-9]",
        "constant @w : 8x4x3x3 [int4bfp/4 r3 e-4]",
    ]
    for name in ("v", "w"):
        tensor = quantized.constants[name]
        assert isinstance(tensor, BfpTensor)
        real = tensor.aligned * 2.0**tensor.format.exponent
        lsb = 2.0 ** (tensor.format.exponent + tensor.format.exponent_range)
        assert np.abs(real - graph.array(name)).max() <= lsb
        assert (tensor.offsets == tensor.format.exponent_range).any()


# -- prove_accumulators -----------------------------------------------------------------------------------------------

LAYER = """\
input "x" = %x (N, C, H, W) : 1x2x2 [{x}]
input "r" = %r (N, C, H, W) : 1x2x2 [{r}]
%y = Conv(x=%x, weight=@w, bias=@b{roles}) {{kernel=(1, 1){tail}}} : 1x{size} [int5bfp/16 r7 e-4]
output "y" = %y (N, C, H, W)
constant @b : 1 [float32]
{slope}constant @w : 1x1x1x1 [int4bfp/16 r3 e-2]
"""
WEIGHT = BfpTensor(
    BfpFormat(4, 16, 3, exponent=-2), np.full((1, 1, 1, 1), 5, np.int16), np.full((1, 1, 1, 1), 3, np.uint8)
)


def prove_layer(
    *,
    x: str = "int5bfp/16 r2 e-3",
    r: str = "int5bfp/16 r2 e-1",
    roles: str = "",
    tail: str = "",
    size: str = "2x2",
    slope: float | None = None,
    bias: float = 1.3,
) -> LayerArithmetic:
    """Of a convolution with the weight 10.0 = (5 << 3) * 2**-2."""
    line = "" if slope is None else "constant @s : 1 [float32]\n"
    constants: dict[str, Constant] = {
        "w": WEIGHT,
        "b": np.array([bias], np.float32),
        "s": np.array([slope], np.float32),
    }
    text = LAYER.format(x=x, r=r, roles=roles, tail=tail, size=size, slope=line)
    arithmetic = prove_accumulators(graph_of(text, constants)).check().nodes[0].arithmetic
    assert arithmetic is not None
    return arithmetic


POOLED = ", tail=Tail(pool=Window(kind='average', kernel=(2, 2)))"
PRELU = {"roles": ", slope=@s", "tail": ", tail=Tail(activation=PRelu())"}
SUM = (5 << 3) * (16 << 2)  # weight times the largest activation
BIAS = 42  # 1.3 * 2**5


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({}, {"accumulator_exponent": -5, "accumulator_bound": SUM, "accumulator_bits": 13}),
        ({}, {"output_exponent": -5, "position_bound": SUM + BIAS, "output_bound": SUM + BIAS, "tail_bits": 13}),
        ({"x": "uint4bfp/16 r2 e-3"}, {"accumulator_bound": (5 << 3) * (15 << 2)}),
        # A coarser residual is shifted left; to a finer one the sum is.
        (
            {"roles": ", residual=%r"},
            {"accumulator_shift": 0, "residual_shift": 4, "output_bound": SUM + BIAS + (16 << 2 + 4)},
        ),
        (
            {"roles": ", residual=%r", "r": "uint5bfp/16 r0 e-7"},
            {"accumulator_shift": 2, "residual_shift": 0, "output_exponent": -7, "output_bound": 4 * (SUM + BIAS) + 31},
        ),
        # Clip bounds in LSBs, None where nothing reaches them.
        ({"tail": ", tail=Tail(activation=Clip())"}, {"clip_low": 0, "clip_high": None, "output_bound": SUM + BIAS}),
        (
            {"tail": ", tail=Tail(activation=Clip(low=-1.0, high=6.0))"},
            {"clip_low": -32, "clip_high": 192, "position_bound": SUM + BIAS, "output_bound": 192},
        ),
        ({"tail": ", tail=Tail(activation=Clip(low=-82.0, high=82.0))"}, {"clip_low": None, "clip_high": None}),
        # A slope has 8 fractional bits, an average 16.
        ({**PRELU, "slope": 0.5}, {"output_exponent": -13, "output_bound": 256 * (SUM + BIAS)}),
        ({**PRELU, "slope": -2.0}, {"position_bound": 512 * (SUM + BIAS)}),
        (
            {"tail": POOLED, "size": "1x1"},
            {"reciprocal_shift": 16, "output_exponent": -21, "output_bound": (2**16 + 4) * (SUM + BIAS)},
        ),
        # Fewer where the tail has no room for them.
        ({"tail": POOLED, "size": "1x1", "x": "int5bfp/16 r31 e-3"}, {"reciprocal_shift": 10, "tail_bits": 52}),
    ],
)
def test_arithmetic_of_a_layer(layer: dict[str, Any], expected: dict[str, int | None]) -> None:
    arithmetic = prove_layer(**layer)
    assert {key: getattr(arithmetic, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"x": "int12bfp/16 r31 e-3"}, "the accumulators need 49 bits, the hardware has 48"),
        (
            {**PRELU, "slope": 100.0, "x": "int8bfp/16 r31 e-3"},
            "the layer tail's sums need 59 bits, the hardware has 54",
        ),
        ({"roles": ", residual=%r", "r": "int5bfp/16 r2 e60"}, "tail's sums need 73 bits"),
        ({"bias": 1e30}, "tail's sums need 64 bits"),  # beyond int64, too
        ({"bias": -1e30}, "tail's sums need 64 bits"),
    ],
)
def test_a_layer_that_could_overflow_is_refused(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(CapacityError, match=f"{message}.*\n  where: layer y"):
        prove_layer(**layer)


@pytest.mark.parametrize(("low", "high"), [(10.0, 20.0), (-20.0, -10.0), (-0.25, 0.5)])
def test_a_clip_beyond_all_sums_binds_as_one_among_them_does(low: float, high: float) -> None:
    text = RESIDUAL.replace("kernel=(1, 1)", f"kernel=(1, 1), tail=Tail(activation=Clip(low={low}, high={high}))")
    graph = graph_of(text, {"w": np.zeros((4, 4, 1, 1), np.float32), "b": np.zeros(4, np.float32)})
    largest = max(abs(low), abs(high))
    proved = prove_accumulators(quantize_weights(assign_formats(graph, config(), {"x": 1.0, "y": largest}), config()))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    found = Emulator(proved, ["y"]).run({"x": x})["y"]
    np.testing.assert_allclose(found, np.clip(x, low, high), atol=largest * 2.0**-7)


def test_weights_that_vanish_beside_the_bias_and_the_residual_leave_room_for_them() -> None:
    """A collapsed branch: on its own, 1e-30 would put the accumulator's LSB some 100 bits below a bias of 1."""
    graph = graph_of(RESIDUAL)
    constants = {**graph.constants, "w": np.full((4, 4, 1, 1), 1e-30, np.float32), "b": np.ones(4, np.float32)}
    assigned = assign_formats(graph.with_nodes(graph.nodes, constants), config(), {"x": 1.0, "y": 2.0})
    proved = prove_accumulators(quantize_weights(assigned, config()))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    found = Emulator(proved, ["y"]).run({"x": x})["y"]
    np.testing.assert_allclose(found, x + 1, atol=2.0**-6)


def test_calibration_that_overflows_is_refused_with_the_value() -> None:
    images = [{"x": np.full((1, 4, 8, 8), 1e38, np.float32)}]
    with pytest.raises(DataError, match="overflows") as refusal:
        calibrate(graph_of(NETWORK), images, prepare)
    assert refusal.value.where == "value a"
