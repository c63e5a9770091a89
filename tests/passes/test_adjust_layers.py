"""Weights that make up for their rounding, and biases that make up for the shift of the mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.config_sections import Passes
from bfpc.emulator.session import Emulator
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.operators import Conv
from bfpc.ir.shapes import output_shape
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.quantize import block_offsets, quantize_depthwise, quantize_weights
from bfpc.passes import quantize_weights as rounding
from bfpc.passes.adjust_layers import adjust_layers
from bfpc.passes.assign_formats import assign_formats
from bfpc.passes.calibrate import calibrate
from bfpc.passes.compensate_rounding import compensate_dense, compensate_depthwise
from bfpc.passes.filter_taps import patches
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.pipeline import prepare
from bfpc.progress import silent
from tests.networks import float_reference
from tests.passes.checks import graph_of

NETWORK = """\
input "x" = %x (N, C, H, W) : 4x8x8
%a = Conv(x=%x, weight=@w, bias=@b) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x8x8
%d = Depthwise(x=%a, weight=@f) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x8x8
output "y" = %d (N, C, H, W)
constant @b : 8 [float32]
constant @f : 8x1x3x3 [float32]
constant @w : 8x4x3x3 [float32]
"""
COARSE = Config.model_validate({"formats": {"weight": {"mantissa_bits": 3}, "depthwise_weight": {"mantissa_bits": 3}}})


def correlated(seed: int) -> NDArray[np.float32]:
    """Maps whose channels are mixtures of few, as those of trained networks are; exact in 8 bits."""
    random = np.random.default_rng(seed)
    mixed = np.einsum("cs,nshw->nchw", random.standard_normal((4, 2)), random.standard_normal((8, 2, 8, 8)))
    return np.asarray(np.rint(16 * (mixed + 1)).clip(-127, 127) / 16, np.float32)


def adjusted(graph: Graph, maps: dict[str, NDArray[np.float32]], **passes: bool) -> Graph:
    quantized = rounding.quantize_weights(
        assign_formats(graph, COARSE, calibrate(graph, [maps], prepare).largest), COARSE
    )
    switched = Passes(**{"compensate_rounding": False, "correct_bias": False} | passes)
    return adjust_layers(quantized, graph, maps, maps, switched, prepare, silent)


def noise(network: Graph, graph: Graph, maps: dict[str, NDArray[np.float32]]) -> float:
    found = Emulator(prove_accumulators(network), ["d"]).run(maps)["d"]
    return float(np.square(found - float_reference.evaluate(graph, maps)["d"]).sum())


@pytest.mark.parametrize("seed", range(4))
def test_compensated_weights_bring_the_network_nearer_to_the_float_one_also_on_other_data(seed: int) -> None:
    graph, maps, others = graph_of(NETWORK), {"x": correlated(seed)}, {"x": correlated(seed)[:, :, ::-1, ::-1]}
    plain, compensated = adjusted(graph, maps), adjusted(graph, maps, compensate_rounding=True)
    assert noise(compensated, graph, maps) < 0.7 * noise(plain, graph, maps)
    assert noise(compensated, graph, others) < 0.8 * noise(plain, graph, others)


def test_bias_correction_gives_every_convolution_the_mean_of_the_float_network() -> None:
    graph, maps = graph_of(NETWORK), {"x": correlated(0)}
    expected = float_reference.evaluate(graph, maps)

    def error(network: Graph) -> float:
        """The largest difference of a channel's mean, in parts of the largest mean."""
        found = Emulator(prove_accumulators(network), ["a", "d"]).run(maps)
        means = [(found[name].mean(axis=(0, 2, 3)), expected[name].mean(axis=(0, 2, 3))) for name in found]
        return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in means)

    assert error(adjusted(graph, maps, correct_bias=True)) < 0.03 < 0.1 < error(adjusted(graph, maps))


def test_the_first_weight_is_rounded_the_second_makes_up_for_it() -> None:
    """The example of the module's text: two inputs that are always equal."""
    format = BfpFormat(mantissa_bits=3, block_size=4, exponent_range=0, exponent=-2)
    weight = np.full((1, 2, 1, 1), 0.4, np.float32)
    seen = np.ones((100, 1, 2), np.float32)
    assert quantize_weights(weight, format)[0].ravel().tolist() == [2, 2]
    compensated = compensate_dense(weight, format, seen, block_offsets)
    assert compensated is not None
    assert compensated.mantissas.ravel().tolist() == [2, 1]


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.sampled_from([4, 8]))
def test_nothing_can_make_up_for_weights_of_unrelated_inputs(seed: int, mantissa_bits: int, block_size: int) -> None:
    """Then every weight is rounded by itself, in the exponent that its block's largest needs."""
    random = np.random.default_rng(seed)
    format = BfpFormat(mantissa_bits, block_size, exponent_range=3).with_top(2)
    dense = random.standard_normal((5, 6, 2, 2)).astype(np.float32)
    one_at_a_time = np.tile(np.eye(24, dtype=np.float32), (3, 1)).reshape(-1, 4, 6)
    compensated = compensate_dense(dense, format, one_at_a_time, block_offsets)
    assert compensated is not None
    mantissas, offsets = quantize_weights(dense, format)
    np.testing.assert_array_equal(compensated.mantissas, mantissas)
    np.testing.assert_array_equal(compensated.offsets, offsets)

    filters = random.standard_normal((6, 1, 2, 2)).astype(np.float32)
    format = BfpFormat(mantissa_bits, 4, exponent_range=3).with_top(2)
    one_tap_at_a_time = np.broadcast_to(np.eye(4, dtype=np.float32)[:, :, np.newaxis], (4, 4, 6))
    depthwise = compensate_depthwise(filters, format, one_tap_at_a_time, block_offsets)
    mantissas, offsets = quantize_depthwise(filters, format)
    np.testing.assert_array_equal(depthwise.mantissas, mantissas)
    np.testing.assert_array_equal(depthwise.offsets, offsets)


def test_too_few_positions_say_nothing_about_the_inputs() -> None:
    format = BfpFormat(mantissa_bits=4, block_size=4, exponent_range=3)
    weight, seen = np.ones((2, 4, 1, 1), np.float32), np.ones((1, 1, 4), np.float32)
    assert compensate_dense(weight, format, seen, block_offsets) is None


def test_inputs_that_are_always_zero_leave_their_weights_as_rounding_does() -> None:
    format = BfpFormat(mantissa_bits=4, block_size=4, exponent_range=3).with_top(0)
    weight, seen = np.full((2, 4, 1, 1), 0.4, np.float32), np.zeros((12, 1, 4), np.float32)
    compensated = compensate_dense(weight, format, seen, block_offsets)
    assert compensated is not None
    np.testing.assert_array_equal(compensated.mantissas, quantize_weights(weight, format)[0])


@pytest.mark.parametrize(
    "op",
    [
        Conv((3, 2), pads=(1, 0, 1, 1)),
        Conv((3, 2), stride=(2, 1)),
        Conv((3, 2), dilation=(2, 3), pads=(2, 1, 0, 3)),
        Conv((3, 2), pads=(-1, 2, 1, -2)),
        Conv((3, 2), input_dilation=(2, 2), pads=(1, 1, 0, 0)),
        Conv((3, 2), pads=(1, 1, 1, 1), pad_mode="reflect"),
    ],
)
def test_patches_times_weights_are_the_convolution(op: Conv) -> None:
    random = np.random.default_rng(0)
    x, weight = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 9, 8), (5, 4, 3, 2)))
    shape = output_shape(op, {"x": (4, 9, 8), "weight": (5, 4, 3, 2)})
    node = Node(op, {"x": "x", "weight": "w"}, Value("y", shape))
    port = Port("x", "x", ("N", "C", "H", "W"))
    graph = Graph("one", (Value("x", (4, 9, 8)),), (node,), {"w": weight}, (port,), (replace(port, value="y"),))
    seen = patches(graph, node, x, most=10**6)
    sums = np.einsum("ptc,oct->po", seen, weight.reshape(5, 4, 6))
    expected = float_reference.evaluate(graph, {"x": x})["y"].transpose(0, 2, 3, 1).reshape(-1, 5)
    np.testing.assert_allclose(sums, expected, atol=1e-4)
    sample = patches(graph, node, x, most=7)
    assert len(sample) == 7
    assert {row.tobytes() for row in sample} <= {row.tobytes() for row in seen}
