"""Windows that are moved down: where outliers are few, never where that costs more than it gains, formats together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.emulator.session import Emulator
from bfpc.ir.graph import Graph
from bfpc.numerics.quantize import dequantize, quantize
from bfpc.passes.assign_formats import assign_formats
from bfpc.passes.calibrate import Maps, calibrate
from bfpc.passes.choose_windows import choose_windows
from bfpc.pipeline import prepare
from tests.passes.checks import graph_of

ONE = """\
input "x" = %x (N, C, H, W) : 16x16x16
%y = Pass(x=%x) {tail=Tail(activation=Clip())} : 16x16x16
output "y" = %y (N, C, H, W)
"""
JOINED = """\
input "x" = %x (N, C, H, W) : 16x16x16
%a = Pass(x=%x) {tail=Tail(activation=Clip())} : 16x16x16
%j = Concat(x0=%a, x1=%x) : 32x16x16
%v = Channels(x=%j) {start=16, stop=32} : 16x16x16
%y = Conv(x=%v, weight=@w) {kernel=(1, 1)} : 16x16x16
output "y" = %y (N, C, H, W)
constant @w : 16x16x1x1 [float32]
"""


def formatted(graph: Graph, x: Maps, mantissa_bits: int = 4, exponent_range: int = 3) -> Graph:
    activation = {"mantissa_bits": mantissa_bits, "exponent_range": exponent_range}
    config = Config.model_validate({"formats": {"activation": activation}})
    return assign_formats(graph, config, calibrate(graph, [{"x": x}], prepare).largest)


def moved(before: Graph, after: Graph, name: str) -> int:
    return before.format(name).exponent - after.format(name).exponent


def uniform(seed: int = 0) -> Maps:
    return np.random.default_rng(seed).uniform(-1, 1, (2, 16, 16, 16)).astype(np.float32)


def heavy_tailed(seed: int = 0) -> Maps:
    """Half of all blocks have an element just above a power of two; all others are far smaller."""
    maps = np.asarray(np.abs(uniform(seed)) / 4, np.float32)
    maps[:, 0, ::2] = 1.01
    return maps


def choose(graph: Graph, x: Maps, **format: int) -> tuple[Graph, Graph]:
    before = formatted(graph, x, **format)
    return before, choose_windows(before, graph, [{"x": image[np.newaxis]} for image in x], prepare)


def noise(graph: Graph, name: str, maps: NDArray[np.float32]) -> float:
    format = graph.format(name)
    return float(np.square(dequantize(*quantize(maps, format), format) - maps).sum(dtype=np.float64))


def test_a_heavy_tailed_map_is_clipped() -> None:
    before, after = choose(graph_of(ONE), heavy_tailed())
    assert moved(before, after, "x") == moved(before, after, "y") == 1


def test_a_uniform_map_is_not() -> None:
    before, after = choose(graph_of(ONE), uniform())
    assert moved(before, after, "x") == moved(before, after, "y") == 0


def test_a_map_that_is_almost_all_below_the_window_is_clipped_farther() -> None:
    """Where the window is a single octave, outliers cost the others all of their bits."""
    x = np.asarray(np.abs(uniform()) / 4, np.float32)
    x[0, 0, 0, 0] = 1.01
    before, after = choose(graph_of(ONE), x, exponent_range=0)
    assert moved(before, after, "x") == 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mantissa_bits", [3, 5, 8])
def test_the_error_of_no_map_rises(seed: int, mantissa_bits: int) -> None:
    random = np.random.default_rng(seed)
    x = (random.standard_normal((2, 16, 16, 16)) * np.exp(random.standard_normal((1, 16, 1, 1)) * 3)).astype(np.float32)
    graph = graph_of(JOINED)
    before, after = choose(graph, x, mantissa_bits=mantissa_bits)
    real = Emulator(graph, ["x", "j", "y"]).run({"x": x})
    for name in real:
        assert noise(after, name, real[name]) <= noise(before, name, real[name])


def test_maps_that_share_a_format_move_together() -> None:
    before, after = choose(graph_of(JOINED), heavy_tailed())
    assert moved(before, after, "j") == 1
    assert after.format("a") == after.format("j") == after.format("v")
