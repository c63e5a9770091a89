"""Every operator of the graph has all that the stages need of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import onnx
import pytest

from bfpc.backend.encoding import ACTIVATION_MODES, ARRAY_MODES, PAD_MODES, POOL_MODES, RESIDUAL_MODES, SCALE_MODES
from bfpc.backend.program import MODES
from bfpc.backend.schedule import LOOPS
from bfpc.frontend.reader import read_model
from bfpc.ir.operators import (
    Activation,
    Channels,
    Concat,
    Conv,
    Depthwise,
    Layer,
    Operator,
    PadMode,
    Pass,
    PositionScale,
    Tail,
)
from bfpc.passes.lower_layers import lower_layers
from tests.networks.random_networks import random_network
from tests.passes.checks import assert_emulated, graph_of

SEEDS = range(30)
PARAMETERS = """\
constant @b : 4 [float32]
constant @s : 4 [float32]
constant @v : 4x1x3x3 [float32]
constant @w : 4x4x3x3 [float32]
"""
EXAMPLES = {
    "Conv": "Conv(x=%x, weight=@w, bias=@b) {kernel=(3, 3)} : 4x4x4",
    "Depthwise": "Depthwise(x=%x, weight=@v, bias=@b) {kernel=(3, 3)} : 4x4x4",
    "Pass": "Pass(x=%x, residual=%r) : 4x6x6",
    "Concat": "Concat(x0=%x, x1=%r) : 8x6x6",
    "Channels": "Channels(x=%x) {start=1, stop=3} : 2x6x6",
    "Scale": "Scale(x=%x, scale=@s, bias=@b) : 4x6x6",
    "Activate": "Activate(x=%x, slope=@s) {activation=PRelu()} : 4x6x6",
    "Elementwise": "Elementwise(x=%x, residual=%r) {operation='multiply'} : 4x6x6",
    "Pool": "Pool(x=%x) {window=Window(kind='max', kernel=(2, 2), stride=(2, 2))} : 4x3x3",
    "Pad": "Pad(x=%x) {pads=(1, 0, 2, 1), channels=(1, 0)} : 5x9x7",
    "Slice": "Slice(x=%x) {start=(1, 0, 2), stop=(3, 6, 6), step=(1, 2, 1)} : 2x3x4",
}


def test_an_importer_makes_every_operator_that_lowering_does_not(tmp_path: Path) -> None:
    made: set[type[Operator]] = set()
    for seed in SEEDS:
        onnx.save(random_network(seed), tmp_path / "network.onnx")
        made |= {type(node.op) for node in read_model(tmp_path / "network.onnx").graph.nodes}
    assert made == set(get_args(Operator)) - {Depthwise, Channels}


@pytest.mark.parametrize("operator", get_args(Operator), ids=lambda operator: operator.__name__)
def test_every_operator_is_parsed_shaped_lowered_and_emulated(operator: type[Operator]) -> None:
    graph = graph_of(
        f"""\
input "x" = %x (N, C, H, W) : 4x6x6
input "r" = %r (N, C, H, W) : 4x6x6
%y = {EXAMPLES[operator.__name__]}
output "y" = %y (N, C, H, W)
{PARAMETERS}"""
    )
    lowered = lower_layers(graph).check()
    assert all(isinstance(node.op, Layer | Concat | Channels) for node in lowered.nodes)
    assert_emulated(lowered)


def test_every_layer_activation_and_pool_has_its_code_in_the_program() -> None:
    array_modes, pad_modes, residual_modes, activation_modes, pool_modes = MODES
    assert ARRAY_MODES.keys() == set(get_args(Layer)) == {Conv, Depthwise, Pass}
    assert set(ARRAY_MODES.values()) == set(array_modes)
    assert set(LOOPS) == set(array_modes)
    assert PAD_MODES.keys() == set(get_args(PadMode))
    assert set(PAD_MODES.values()) == set(pad_modes)
    assert RESIDUAL_MODES.keys() == set(get_args(get_type_hints(Tail)["residual"]))
    assert {*RESIDUAL_MODES.values(), residual_modes(0)} == set(residual_modes)
    assert ACTIVATION_MODES.keys() | {PositionScale} == {type(None), *get_args(Activation)}
    assert SCALE_MODES.keys() == set(get_args(get_type_hints(PositionScale)["axis"]))
    assert {*ACTIVATION_MODES.values(), *SCALE_MODES.values()} == set(activation_modes)
    assert {"max", "average"} == POOL_MODES.keys()
    assert {*POOL_MODES.values(), pool_modes(0)} == set(pool_modes)
