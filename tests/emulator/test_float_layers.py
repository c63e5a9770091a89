"""Layers without integer arithmetic, as calibration runs them, against float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfpc.emulator.session import Emulator, real_values
from bfpc.ir.graph import Constant, Graph, Node, Port, Value
from bfpc.ir.operators import Pass, PositionScale, Table, Tail
from bfpc.ir.shapes import array_size
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.functions import FUNCTIONS, Step, apply_steps
from bfpc.numerics.layer import POSITION_SCALE_SHIFT, SLOPE_SHIFT
from tests.emulator.random_layers import AXES, Example, random_layer
from tests.networks import float_reference

PARAMETERS = {
    "affine": (-0.5, 0.25),
    "clip": (-0.25, 0.5),
    "elu": (0.75,),
    "polynomial": (0.5, -1.0, 0.25, 0.125),
    "power": (1.5,),
}


def without_formats(example: Example) -> tuple[Graph, dict[str, np.ndarray]]:
    """The layer with its weights, bias, slopes and positions' scales as real numbers, and its input maps."""
    graph, node = example.graph, example.graph.nodes[0]
    assert node.arithmetic is not None
    units = {"bias": node.arithmetic.accumulator_exponent, "slope": -SLOPE_SHIFT}
    constants: dict[str, Constant] = {}
    for role in ("weight", "bias", "slope"):
        if role in node.inputs:
            constant = graph.constants[node.inputs[role]]
            real = constant.real if isinstance(constant, BfpTensor) else np.ldexp(constant * 1.0, units[role])
            constants[role] = real.astype(np.float32)
    activation = node.layer.tail.activation
    if isinstance(activation, PositionScale):
        size = array_size(node.layer, graph.value(node.inputs["x"]).shape[1:])
        entries = graph.array(node.inputs["table"])[: size[0] if activation.axis == "row" else size[1]]
        constants["table"] = np.ldexp(entries.astype(np.float32), -POSITION_SCALE_SHIFT)
    roles = {role: name for role, name in node.inputs.items() if graph.is_value(name)}
    plain = Node(node.op, roles | {name: name for name in constants}, replace(node.output, format=None))
    values = tuple(replace(value, format=None) for value in graph.values)
    return replace(graph, values=values, nodes=(plain,), constants=constants).check(), real_values(example.inputs)


@pytest.mark.parametrize("seed", range(150))
def test_random_layers(seed: int) -> None:
    graph, maps = without_formats(random_layer(seed))
    expected = float_reference.evaluate(graph, maps)["y"]
    found = Emulator(graph, ["y"]).run(maps)["y"]
    known = np.isfinite(expected) & (np.abs(expected) < 1e30)
    largest = np.abs(expected[known]).max(initial=0)
    if not isinstance(graph.nodes[0].layer.tail.activation, Table):  # whose slopes may be steep
        np.testing.assert_allclose(found[known], expected[known], rtol=1e-4, atol=1e-5 * largest)
    assert found.shape == expected.shape


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_elementary_functions(name: str, gated: bool) -> None:
    steps: tuple[Step, ...] = (("affine", 2.0, 0.0), (name, *PARAMETERS.get(name, ())))
    low = 0.01 if name in ("log", "power", "reciprocal", "sqrt") else -8.0
    x = np.linspace(low, 8, 4 * 99, dtype=np.float32).reshape(1, 4, 9, 11)
    value = Value("x", x.shape[1:])
    node = Node(Pass(tail=Tail(Table(steps, gated))), {"x": "x"}, Value("y", x.shape[1:]))
    ports = (Port("x", "x", AXES), Port("y", "y", AXES))
    graph = Graph(name, (value,), (node,), {}, ports[:1], ports[1:]).check()
    expected = apply_steps(steps, x.astype(np.float64), gated=gated)
    np.testing.assert_allclose(Emulator(graph, ["y"]).run({"x": x})["y"], expected, rtol=1e-5, atol=1e-6)
