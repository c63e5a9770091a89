"""Sensitivities against full runs of networks of which one tensor alone is quantized."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config_sections import Passes
from bfpc.emulator.session import Emulator
from bfpc.ir.graph import Graph, Port
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.quantize import dequantize, quantize, quantize_weights
from bfpc.search.sensitivity import Question, Subject, cached_images, open_sensitivity, relative_noise
from tests.networks import float_reference
from tests.passes.checks import graph_of

NETWORK = """\
input "x" = %x (N, C, H, W) : 4x8x8
%a = Conv(x=%x, weight=@w, bias=@b) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=Clip())} : 8x8x8
%d = Depthwise(x=%a, weight=@v) {kernel=(3, 3), pads=(1, 1, 1, 1)} : 8x8x8
%r = Conv(x=%d, weight=@u, residual=%a) {kernel=(1, 1), tail=Tail(activation=Clip())} : 8x8x8
%p = Pass(x=%a) {tail=Tail(pool=Window(kind='max', kernel=(2, 2), stride=(2, 2)))} : 8x4x4
output "r" = %r (N, C, H, W)
output "p" = %p (N, C, H, W)
constant @b : 8 [float32]
constant @u : 8x8x1x1 [float32]
constant @v : 8x1x3x3 [float32]
constant @w : 8x4x3x3 [float32]
"""
FORMATS = tuple(BfpFormat(bits, 8, 7).with_top(2) for bits in (3, 4, 6))
PLAIN = Passes(compensate_rounding=False, correct_bias=False)
CORRECTED = Passes(compensate_rounding=False, correct_bias=True)
COMPENSATED = Passes(compensate_rounding=True, correct_bias=False)
Maps = dict[str, NDArray[np.float32]]


def network() -> tuple[Graph, Maps]:
    return graph_of(NETWORK), {"x": np.random.default_rng(3).standard_normal((2, 4, 8, 8), np.float32)}


def expected_noise(graph: Graph, inputs: Maps, name: str, quantized: NDArray[np.float32]) -> float:
    """The noise at the outputs where the value `name` is `quantized`, by a run of the whole in float64."""
    clean = float_reference.evaluate(graph, inputs)
    nodes = tuple(node for node in graph.nodes if node.name != name)
    value = graph.value(name)
    values = (*(each for each in graph.values if each.name != name), value)
    ports = (*(port for port in graph.inputs if port.name != name), Port(name, name, ("N", "C", "H", "W")))
    changed = replace(graph, values=values, nodes=nodes, inputs=ports)
    noisy: dict[str, NDArray[Any]] = {name: quantized, **float_reference.evaluate(changed, {**inputs, name: quantized})}
    return float(np.mean([relative_noise(clean[output], noisy[output]) for output in ("r", "p")]))


@pytest.mark.parametrize("name", ["x", "a", "d", "r"])
def test_the_noise_of_a_map_is_that_of_a_full_run_with_it_quantized(name: str) -> None:
    graph, inputs = network()
    answer = open_sensitivity(Subject(graph, inputs, PLAIN))(Question(name, FORMATS, ()))
    maps = {**inputs, **Emulator(graph, ["a", "d", "r"]).run(inputs)}[name]
    expected = [expected_noise(graph, inputs, name, dequantize(*quantize(maps, format), format)) for format in FORMATS]
    assert answer.weights == ()
    assert answer.maps[0] == pytest.approx(expected[0], rel=1e-3)
    assert answer.maps[2] == pytest.approx(expected[2], rel=1e-3)
    assert answer.maps[1] == pytest.approx(expected[1], rel=0.5)  # between the measured ones it is predicted


def test_the_noise_of_weights_is_that_of_a_full_run_with_them_quantized() -> None:
    graph, inputs = network()
    answer = open_sensitivity(Subject(graph, inputs, PLAIN))(Question("r", (), FORMATS))
    clean, weight = float_reference.evaluate(graph, inputs), graph.array("u")
    for index in (0, 2):
        quantized = BfpTensor(FORMATS[index], *quantize_weights(weight, FORMATS[index])).real.astype(np.float32)
        noisy = float_reference.evaluate(replace(graph, constants={**graph.constants, "u": quantized}), inputs)
        expected = np.mean([relative_noise(clean[output], noisy[output]) for output in ("r", "p")])
        assert answer.weights[index] == pytest.approx(expected, rel=1e-3)


def test_passes_that_make_up_for_quantized_weights_lower_their_noise() -> None:
    graph, inputs = network()
    inputs = {"x": np.abs(inputs["x"]) + 1}
    question = Question("a", (), FORMATS[:1])
    plain, corrected, compensated = (
        open_sensitivity(Subject(graph, inputs, passes))(question) for passes in (PLAIN, CORRECTED, COMPENSATED)
    )
    assert corrected.weights[0] < plain.weights[0]
    assert compensated.weights[0] < plain.weights[0]


def test_networks_of_large_maps_are_measured_on_fewer_images() -> None:
    graph, _ = network()
    large = replace(graph, values=(replace(graph.values[0], shape=(64, 1024, 1024)),))
    assert cached_images(graph, 8) == 8
    assert cached_images(large, 8) == 1
