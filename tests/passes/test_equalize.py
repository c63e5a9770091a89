"""Factors for channels: the network computes the same, in every bit; which maps can have them, and what they are."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.emulator.session import Emulator
from bfpc.ir.graph import Constant, Graph
from bfpc.passes.assign_formats import assign_formats
from bfpc.passes.calibrate import Maps, Statistics, calibrate
from bfpc.passes.equalize import Exponents, choose_factors, equalize, equalized_statistics
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.passes.quantize_weights import quantize_weights
from bfpc.pipeline import Dump, float_passes, prepare, run_passes
from tests.passes.checks import check_text, graph_of
from tests.passes.random_graphs import random_graph

TWO_LAYERS = """\
input "x" = %x (N, C, H, W) : 4x8x8
%y = Conv(x=%x, weight=@w, bias=@b) {kernel=(1, 1), tail=Tail(activation=Clip())} : 4x8x8
%z = Conv(x=%y, weight=@v) {kernel=(1, 1)} : 4x8x8
output "z" = %z (N, C, H, W)
constant @b : 4 [float32]
constant @v : 4x4x1x1 [float32]
constant @w : 4x4x1x1 [float32]
"""
FACTORS = {"y": np.array([1, 0, -2, 3], np.int32)}
TRUNK = """\
input "x" = %x (N, C, H, W) : 4x8x8
%a = Conv(x=%x, weight=@w0) {kernel=(1, 1)} : 6x8x8
%b = Conv(x=%a, weight=@w1) {kernel=(1, 1), tail=Tail(activation=Clip(high=6.0))} : 8x8x8
%d = Depthwise(x=%b, weight=@w2) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=Clip())} : 8x8x8
%c = Conv(x=%d, weight=@w3, residual=%a) {kernel=(1, 1)} : 6x8x8
%p = Pass(x=%c) {tail=Tail(pool=Window(kind='max', kernel=(2, 2)))} : 6x7x7
%z = Conv(x=%p, weight=@w4) {kernel=(1, 1)} : 4x7x7
output "z" = %z (N, C, H, W)
constant @w0 : 6x4x1x1 [float32]
constant @w1 : 8x6x1x1 [float32]
constant @w2 : 8x1x3x3 [float32]
constant @w3 : 6x8x1x1 [float32]
constant @w4 : 4x6x1x1 [float32]
"""


def maps_of(graph: Graph, images: int = 2) -> dict[str, Maps]:
    random = np.random.default_rng(0)
    return {value.name: random.standard_normal((images, *value.shape), np.float32) for value in graph.values}


def statistics_of(graph: Graph) -> Statistics:
    return calibrate(graph, [maps_of(graph)], prepare)


def random_factors(graph: Graph, seed: int = 0) -> dict[str, Exponents]:
    """Any for each value or group of values that `choose_factors` would give some."""
    random = np.random.default_rng(seed)
    chosen: dict[int, Exponents] = {}
    same = choose_factors(graph, statistics_of(graph))
    return {
        name: chosen.setdefault(id(exponents), random.integers(-3, 4, len(exponents), np.int32))
        for name, exponents in same.items()
    }


def scaled_values(text: str) -> set[str]:
    graph = graph_of(text)
    return set(choose_factors(graph, statistics_of(graph)))


def test_a_layer_and_the_layer_that_reads_it_get_other_weights() -> None:
    check_text(
        TWO_LAYERS,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %y = Conv(x=%x, weight=@y.equalized_weight, bias=@y.equalized_bias)\
 {kernel=(1, 1), tail=Tail(activation=Clip())} : 4x8x8
        %z = Conv(x=%y, weight=@z.equalized_weight) {kernel=(1, 1)} : 4x8x8
        output "z" = %z (N, C, H, W)
        constant @y.equalized_bias : 4 [float32]
        constant @y.equalized_weight : 4x4x1x1 [float32]
        constant @z.equalized_weight : 4x4x1x1 [float32]
        """,
        partial(equalize, exponents=FACTORS),
    )
    before = graph_of(TWO_LAYERS)
    after = equalize(before, FACTORS)
    factors = np.array([2, 1, 0.25, 8], np.float32)
    np.testing.assert_array_equal(after.array("y.equalized_bias"), before.array("b") * factors)
    np.testing.assert_array_equal(after.array("y.equalized_weight"), before.array("w") * factors[:, None, None, None])
    np.testing.assert_array_equal(after.array("z.equalized_weight"), before.array("v") / factors[:, None, None])


@pytest.mark.parametrize("text", [TWO_LAYERS, TRUNK])
def test_every_value_is_the_same_in_every_bit_but_for_its_factors(text: str) -> None:
    graph = graph_of(text)
    factors = random_factors(graph)
    assert factors
    equalized, maps = equalize(graph, factors), maps_of(graph)
    names = [node.name for node in graph.nodes]
    before, after = (Emulator(each, names).run(maps) for each in (graph, equalized))
    for name in names:
        scaled = np.ldexp(before[name], factors.get(name, np.zeros(1, np.int32))[:, np.newaxis, np.newaxis])
        np.testing.assert_array_equal(after[name], scaled, err_msg=name)


@pytest.mark.parametrize("seed", range(40))
def test_any_network_keeps_its_outputs_and_the_statistics_follow(seed: int) -> None:
    graph = run_passes(random_graph(seed), float_passes(Config()), Dump(None))
    factors = random_factors(graph, seed)
    equalized, maps = equalize(graph, factors).check(), maps_of(graph)
    outputs = sorted(graph.output_names)
    before, after = (Emulator(each, outputs).run(maps) for each in (graph, equalized))
    for name in outputs:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    expected, found = statistics_of(equalized), equalized_statistics(statistics_of(graph), factors)
    assert found.domains == expected.domains
    for name, channels in expected.channels.items():
        np.testing.assert_array_equal(found.channels[name], channels, err_msg=name)
        np.testing.assert_array_equal(found.powers[name], expected.powers[name], err_msg=name)


# -- which maps -------------------------------------------------------------------------------------------------------


def test_the_terms_of_a_sum_and_the_sum_get_the_same_factors() -> None:
    spread = np.ldexp(np.ones(6, np.float32), np.arange(6))[:, None, None, None]
    graph = graph_of(TRUNK, {"w0": np.ones((6, 4, 1, 1), np.float32) * spread})
    chosen = choose_factors(graph, statistics_of(graph))
    assert chosen.keys() - {"d"} == {"a", "c", "p"}  # b is cut at 6
    assert chosen["a"] is chosen["c"] is chosen["p"]


@pytest.mark.parametrize(
    ("y", "scaled"),
    [
        ("Conv(x=%x, weight=@w) {kernel=(1, 1)}", True),
        ("Conv(x=%x, weight=@w, slope=@s) {kernel=(1, 1), tail=Tail(activation=PRelu())}", True),
        ("Conv(x=%x, weight=@w) {kernel=(1, 1), tail=Tail(pool=Window(kind='average', kernel=(1, 1)))}", True),
        ("Conv(x=%x, weight=@w) {kernel=(1, 1), tail=Tail(activation=Clip(low=-1.0))}", False),
        ("Conv(x=%x, weight=@w) {kernel=(1, 1), tail=Tail(activation=Clip(high=6.0))}", False),
        ("Conv(x=%x, weight=@w) {kernel=(1, 1), tail=Tail(activation=Table(steps=(('tanh',),)))}", False),
        ("Conv(x=%x, weight=@w, residual=%x) {kernel=(1, 1)}", False),  # the input would be scaled, too
        ("Pass(x=%x) {tail=Tail(activation=Clip())}", False),
    ],
)
def test_a_tail_that_scales_along_lets_its_map_be_scaled(y: str, scaled: bool) -> None:
    text = f"""\
    input "x" = %x (N, C, H, W) : 4x8x8
    %y = {y} : 4x8x8
    %z = Conv(x=%y, weight=@v) {{kernel=(1, 1)}} : 4x8x8
    output "z" = %z (N, C, H, W)
    {"constant @s : 4 [float32]" if "@s" in y else ""}
    constant @v : 4x4x1x1 [float32]
    {"constant @w : 4x4x1x1 [float32]" if "@w" in y else ""}
    """
    lines = [line for line in text.splitlines() if line.strip()]
    assert scaled_values("\n".join(lines) + "\n") == ({"y"} if scaled else set())


@pytest.mark.parametrize(
    ("z", "shape"),
    [
        ("Pass(x=%y, residual=%y) {tail=Tail(residual='multiply')}", "4x8x8"),
        ("Pass(x=%y) {pads=(1, 1, 1, 1), pad_value=1.0}", "4x10x10"),
        ("Concat(x0=%y, x1=%x)", "8x8x8"),
        ("Channels(x=%y) {start=0, stop=2}", "2x8x8"),
    ],
)
def test_a_map_that_is_read_otherwise_stays(z: str, shape: str) -> None:
    channels = shape.split("x", maxsplit=1)[0]
    text = f"""\
    input "x" = %x (N, C, H, W) : 4x8x8
    %y = Conv(x=%x, weight=@w) {{kernel=(1, 1)}} : 4x8x8
    %z = {z} : {shape}
    %v = Conv(x=%z, weight=@v) {{kernel=(1, 1)}} : 4x{shape.split("x", maxsplit=1)[1]}
    output "v" = %v (N, C, H, W)
    constant @v : 4x{channels}x1x1 [float32]
    constant @w : 4x4x1x1 [float32]
    """
    assert scaled_values(text) == set()


def test_outputs_and_maps_of_layers_with_groups_or_shared_weights_stay() -> None:
    assert scaled_values(TWO_LAYERS.replace('output "z"', 'output "y" = %y (N, C, H, W)\noutput "z"')) == set()
    grouped = TWO_LAYERS.replace("@v : 4x4", "@v : 4x2").replace("@v) {", "@v) {groups=2, ")
    assert scaled_values(grouped) == set()
    assert scaled_values(TWO_LAYERS.replace("@v", "@w").replace("constant @w : 4x4x1x1 [float32]\n", "", 1)) == set()


# -- which factors ----------------------------------------------------------------------------------------------------


SIZES = np.array([1, 0.25, 16, 0])  # of a map's channels


def statistics_with(sizes: NDArray[np.float64]) -> Statistics:
    return Statistics({"y": sizes.astype(np.float32)}, {"y": np.square(sizes)})


def test_maps_and_the_dense_weights_that_read_them_meet_halfway() -> None:
    ones = np.ones((4, 4, 1, 1), np.float32)
    chosen = choose_factors(graph_of(TWO_LAYERS, {"v": ones}), statistics_with(SIZES))
    assert chosen["y"].tolist() == [0, 1, -2, 0]  # the last channel is always zero


def test_before_depthwise_weights_the_map_alone_counts() -> None:
    text = TWO_LAYERS.replace("%z = Conv", "%z = Depthwise").replace("@v : 4x4x1x1", "@v : 4x1x1x1")
    assert choose_factors(graph_of(text), statistics_with(SIZES))["y"].tolist() == [0, 2, -3, 0]  # 2**-4 is too far


def test_nothing_is_scaled_where_all_is_even() -> None:
    ones = np.ones((4, 4, 1, 1), np.float32)
    assert choose_factors(graph_of(TWO_LAYERS, {"v": ones}), statistics_with(np.ones(4))) == {}


def test_a_network_with_uneven_channels_loses_less_when_it_is_quantized() -> None:
    random = np.random.default_rng(0)
    spread = np.ldexp(1.0, random.integers(-3, 4, 16)).astype(np.float32)
    text = TWO_LAYERS.replace("4x4x1x1", "16x16x1x1").replace(": 4x8x8", ": 16x8x8").replace("@b : 4 ", "@b : 16 ")
    w, v = (random.standard_normal((16, 16, 1, 1)).astype(np.float32) for _ in range(2))
    constants: dict[str, Constant] = {"w": w * spread[:, None, None, None], "v": v / spread[:, None, None]}
    constants["b"] = random.standard_normal(16).astype(np.float32) * spread
    graph = graph_of(text, constants)
    factors = choose_factors(graph, statistics_of(graph))
    assert noise(equalize(graph, factors), graph) < 0.1 * noise(graph, graph)


def noise(graph: Graph, original: Graph) -> float:
    config, maps = Config.model_validate({"formats": {"weight": {"exponent_range": 7}}}), maps_of(graph)
    assigned = assign_formats(graph, config, statistics_of(graph).largest)
    quantized = prove_accumulators(quantize_weights(assigned, config))
    found, expected = (Emulator(each, ["z"]).run(maps)["z"] for each in (quantized, original))
    return float(np.square(found - expected).sum())
