"""The proved widths at their worst case: every mantissa at full scale, every product of one sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bfpc.backend.architecture import size_architecture
from bfpc.backend.build_folder import read_build, write_build
from bfpc.backend.design import make_design
from bfpc.backend.trace import pack_maps
from bfpc.config import Config
from bfpc.emulator.session import Emulator, real_values
from bfpc.ir.graph import Constant, Graph, Node, Port, Value
from bfpc.ir.operators import Conv, Pass, Tail
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import MAX_TAIL_BITS, signed_bits
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.pipeline import first_image
from bfpc.runtime.simulation import build_simulation, run_simulation
from bfpc.verify import find_difference
from tests.backend.hls_reference import accumulators, tail
from tests.emulator import integer_reference
from tests.emulator.random_layers import random_layer

AXES = ("N", "C", "H", "W")
CHANNELS, OUTPUTS = 48, 2
# Accumulator width of the array, formats of activations and weights, and the bits that the proof finds.
WIDTHS = (
    (32, BfpFormat(5, 16, 7, exponent=-3), BfpFormat(4, 16, 3, exponent=-5), 27),
    (40, BfpFormat(8, 16, 7, exponent=-3), BfpFormat(8, 16, 3, exponent=-5), 34),
    (48, BfpFormat(12, 16, 9, exponent=-3), BfpFormat(12, 16, 6, exponent=-5), 47),
)


def full_scale(format: BfpFormat, shape: tuple[int, ...], offsets: tuple[int, ...]) -> BfpTensor:
    """Every element as large as can be: the smallest mantissa if signed, the largest if not."""
    mantissa = format.min_mantissa if format.signed else format.max_mantissa
    return BfpTensor(format, np.full(shape, mantissa, np.int16), np.full(offsets, format.exponent_range, np.uint8))


def worst_case(x: BfpFormat, weight: BfpFormat, mantissa: int) -> tuple[Graph, dict[str, BfpTensor]]:
    """A 3x3 convolution with bias and residual, and its input maps.

    Its weights are `mantissa` in the first channel and the opposite, as far as there is one, in the second.
    """
    blocks = CHANNELS // weight.block_size
    weights = full_scale(weight, (OUTPUTS, CHANNELS, 3, 3), (OUTPUTS, blocks, 3, 3))
    weights.mantissas[0], weights.mantissas[1] = mantissa, min(-mantissa, weight.max_mantissa)
    bias = np.array([-1, 1], np.float32) * (-1 if mantissa < 0 else 1) * (1 if x.signed else -1)
    residual = replace(x, exponent=x.exponent - 2)
    maps = {
        "x": full_scale(x, (1, CHANNELS, 3, 3), (1, CHANNELS // x.block_size, 3, 3)),
        "residual": full_scale(residual, (1, OUTPUTS, 1, 1), (1, 1, 1, 1)),
    }
    values = tuple(Value(name, (*tensor.mantissas.shape[1:],), tensor.format) for name, tensor in maps.items())
    constants: dict[str, Constant] = {"weight": weights, "bias": bias}
    inputs = {name: name for name in ("x", "weight", "bias", "residual")}
    node = Node(Conv((3, 3)), inputs, Value("y", (OUTPUTS, 1, 1)))
    ports = tuple(Port(name, name, AXES) for name in maps)
    graph = prove_accumulators(Graph("worst case", values, (node,), constants, ports, (Port("y", "y", AXES),)))
    return replace(graph, nodes=(with_output_format(graph.nodes[0]),)).check(), maps


def with_output_format(node: Node) -> Node:
    """The node with an output in which no number saturates."""
    assert node.arithmetic is not None
    top = node.arithmetic.output_bound.bit_length() + node.arithmetic.output_exponent
    return replace(node, output=replace(node.output, format=BfpFormat(12, 4, 7).with_top(top)))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("weights", ["smallest", "largest"])
@pytest.mark.parametrize(("width", "x", "weight", "bits"), WIDTHS)
def test_sums_reach_their_bound_and_no_more(
    width: int, x: BfpFormat, weight: BfpFormat, bits: int, weights: str, *, signed: bool
) -> None:
    mantissa = weight.min_mantissa if weights == "smallest" else weight.max_mantissa
    graph, maps = worst_case(replace(x, signed=signed), weight, mantissa)
    arithmetic = graph.nodes[0].arithmetic
    assert arithmetic is not None
    inputs = {name: integer_reference.image(tensor) for name, tensor in maps.items()}
    case = integer_reference.layer_case(graph, graph.nodes[0], inputs)
    assert np.abs(accumulators(case)).max() == arithmetic.accumulator_bound
    assert arithmetic.accumulator_bits == signed_bits(arithmetic.accumulator_bound) <= bits + (not signed)
    assert width - 8 < arithmetic.accumulator_bits <= width
    if weights == "largest":  # the smallest mantissas make products of the other sign than the residual's
        assert np.abs(tail(case)).max() == arithmetic.position_bound


@pytest.mark.parametrize("join", ["add", "subtract", "multiply"])
def test_what_joining_a_residual_gives_reaches_its_bound(join: Literal["add", "subtract", "multiply"]) -> None:
    signed, unsigned = BfpFormat(5, 4, 3), BfpFormat(6, 4, 2, signed=False, exponent=-2)
    x, residual = (unsigned, signed) if join == "subtract" else (signed, signed)
    values = tuple(Value(name, (4, 1, 1), format) for name, format in (("x", x), ("residual", residual)))
    node = Node(Pass(tail=Tail(residual=join)), {"x": "x", "residual": "residual"}, Value("y", (4, 1, 1)))
    ports = tuple(Port(name, name, AXES) for name in ("x", "residual", "y"))
    graph = prove_accumulators(Graph(join, values, (node,), {}, ports[:2], ports[2:]))
    graph = replace(graph, nodes=(with_output_format(graph.nodes[0]),)).check()
    maps = {value.name: full_scale(value.format or x, (1, 4, 1, 1), (1, 1, 1, 1)) for value in values}
    inputs = {name: integer_reference.image(tensor) for name, tensor in maps.items()}
    arithmetic = graph.nodes[0].arithmetic
    assert arithmetic is not None
    assert np.abs(tail(integer_reference.layer_case(graph, graph.nodes[0], inputs))).max() == arithmetic.position_bound


@pytest.mark.parametrize("seed", range(100))
def test_no_number_of_a_random_layer_exceeds_what_is_proved(seed: int) -> None:
    example = random_layer(seed)
    node = example.graph.nodes[0]
    assert node.arithmetic is not None
    case = integer_reference.layer_case(
        example.graph, node, {name: integer_reference.image(maps) for name, maps in example.inputs.items()}
    )
    assert np.abs(accumulators(case)).max(initial=0) <= node.arithmetic.accumulator_bound
    assert np.abs(tail(case)).max(initial=0) <= node.arithmetic.output_bound
    positions = replace(case, op=replace(case.op, tail=replace(case.op.tail, pool=None)))
    assert np.abs(tail(positions)).max(initial=0) <= node.arithmetic.position_bound
    joined = replace(case, op=replace(case.op, tail=replace(case.op.tail, pool=None, activation=None)))
    assert np.abs(tail(joined)).max(initial=0) <= node.arithmetic.position_bound < 2 ** (MAX_TAIL_BITS - 1)


@pytest.mark.parametrize(("width", "x", "weight"), [case[:3] for case in WIDTHS])
def test_the_array_and_the_emulator_hold_the_largest_sums(
    width: int, x: BfpFormat, weight: BfpFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1")
    for mantissa in (weight.min_mantissa, weight.max_mantissa):
        graph, maps = worst_case(x, weight, mantissa)
        config = Config()
        architecture = size_architecture(graph, config.architecture, config.array_size)
        assert architecture.accumulator_bits == width
        write_build(make_design(graph, architecture, config, b"model"), tmp_path / "build")
        stored = Emulator(graph, ["y"], stored=True).run_stored(real_values(maps))
        inputs = {name: integer_reference.image(tensor) for name, tensor in maps.items()}
        np.testing.assert_array_equal(stored["y"].mantissas[0], integer_reference.run(graph, inputs)["y"].mantissas)
        words = pack_maps(("x", "residual"), first_image(maps), architecture.k_vec)
        trace = run_simulation(tmp_path / "build", build_simulation(tmp_path / "build"), words)
        assert find_difference(read_build(tmp_path / "build"), first_image(stored), trace) is None
