"""The published arithmetic against rational numbers, and its layers against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bfpc.config import Config, load_config
from bfpc.config_sections import Formats, Override
from bfpc.emulator.published import published_runner
from bfpc.emulator.published_quantizer import PublishedFormat, published_weights
from bfpc.emulator.session import folded_inputs
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.layout import Fold
from bfpc.ir.operators import Conv, Depthwise, Layer, Pass, Table, Tail
from bfpc.pipeline import compile_model, prepare_network
from tests.emulator import published_reference as reference
from tests.emulator.random_layers import AXES
from tests.networks import float_reference
from tests.networks.random_networks import random_network

Maps = NDArray[np.floating]
Quantizer = Callable[[Sequence[float], int], list[Fraction]]

PUBLISHED = load_config("published")
SHAPE = BLOCKS, BLOCK = 12, 32
WIDTHS = (2, 3, 4, 5, 12)


def with_widths(activation: int, weight: int, block: int = BLOCK) -> Config:
    formats = {
        "activation": {"mantissa_bits": activation, "block_size": block},
        "weight": {"mantissa_bits": weight, "block_size": block},
    }
    return Config.model_validate({"arithmetic": "published", "formats": formats})


def drawn(rng: np.random.Generator, low: int, high: int) -> NDArray[np.float64]:
    """Integers from `low` to before `high`, of any sign."""
    return rng.choice([-1.0, 1.0], SHAPE) * rng.integers(low, high, SHAPE)


def octaves(rng: np.random.Generator) -> NDArray[np.float64]:
    """A power of two for each block."""
    return np.exp2(rng.integers(-18, 4, (BLOCKS, 1)))


# Random blocks [blocks, elements] for formats with `most - 1` as all-ones.
KINDS: Mapping[str, Callable[[np.random.Generator, int], Maps]] = {
    "any": lambda rng, most: rng.standard_normal(SHAPE) * np.exp2(rng.uniform(-24, 15, (BLOCKS, 1))),
    "many octaves": lambda rng, most: rng.standard_normal(SHAPE) * np.exp2(rng.uniform(-24, 15, SHAPE)),
    "ties": lambda rng, most: drawn(rng, 0, 8 * most) / 4 * octaves(rng),
    "next to ties": lambda rng, most: drawn(rng, 0, 4 * most) * (1 + rng.integers(-2, 3, SHAPE) / 2**11) * octaves(rng),
    "ties of FP16": lambda rng, most: (drawn(rng, 2**10, 2**11) + 0.5) * octaves(rng),
    "all-ones": lambda rng, most: (most - rng.choice([0.25, 0.5, 0.75, 1, 1.5], SHAPE)) * octaves(rng),
    "subnormal": lambda rng, most: drawn(rng, 0, 2**11) * np.exp2(rng.integers(-27, -23, (BLOCKS, 1))),
    "beyond FP16": lambda rng, most: drawn(rng, 0, 2) * np.exp2(rng.uniform(13, 127, SHAPE)),
    "the top of FP16": lambda rng, most: drawn(rng, 57344, 65600) * (rng.random(SHAPE) < 0.5),
    "infinite": lambda rng, most: np.where(rng.random(SHAPE) < 0.1, np.inf, rng.standard_normal(SHAPE)),
    "zeros": lambda rng, most: rng.standard_normal(SHAPE) * (rng.random(SHAPE) < 0.03),
}


def random_blocks(kind: str, mantissa_bits: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([list(KINDS).index(kind), mantissa_bits])
    return KINDS[kind](rng, 2 ** (mantissa_bits - 1)).astype(np.float32)


def each_block(quantize: Quantizer, blocks: NDArray[np.float32], mantissa_bits: int) -> NDArray[np.float64]:
    values = [quantize(block, mantissa_bits - 1) for block in blocks.tolist()]
    return np.array([[float(value) for value in block] for block in values])


def what_a_convolution_reads(
    blocks: NDArray[np.float32], mantissa_bits: int, *, folded: bool = False
) -> NDArray[np.float32]:
    """The blocks, one at each position, through a convolution that hands its input on."""
    value = Value("x", (BLOCK, 1, len(blocks)))
    node = Node(Conv((1, 1)), {"x": "x", "weight": "weight"}, replace(value, name="y"))
    fold = Fold(value.shape, (1, 1), (1, 1), (0, 0, 0, 0)) if folded else None
    ports = Port("x", "x", AXES, fold), Port("y", "y", AXES)
    constants = {"weight": np.eye(BLOCK, dtype=np.float32)[:, :, None, None]}
    graph = Graph("identity", (value,), (node,), constants, ports[:1], ports[1:]).check()
    run = published_runner(graph, with_widths(mantissa_bits, 4), ["y"])
    return run({"x": np.ascontiguousarray(blocks.T)[None, :, None]})["y"][0, :, 0].T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mantissa_bits", WIDTHS)
def test_activations_are_rounded_twice_and_aligned(kind: str, mantissa_bits: int) -> None:
    blocks = random_blocks(kind, mantissa_bits)
    found = what_a_convolution_reads(blocks, mantissa_bits)
    np.testing.assert_array_equal(found, each_block(reference.activations, blocks, mantissa_bits))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mantissa_bits", WIDTHS)
def test_the_folded_first_layer_truncates(kind: str, mantissa_bits: int) -> None:
    blocks = random_blocks(kind, mantissa_bits)
    found = what_a_convolution_reads(blocks, mantissa_bits, folded=True)
    np.testing.assert_array_equal(found, each_block(reference.truncated, blocks, mantissa_bits))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "infinite"])
@pytest.mark.parametrize("mantissa_bits", WIDTHS)
def test_weights_are_rounded_once(kind: str, mantissa_bits: int) -> None:
    blocks = random_blocks(kind, mantissa_bits)
    found = published_weights(blocks[:, :, None, None], PublishedFormat(mantissa_bits - 1, BLOCK))
    np.testing.assert_array_equal(found[..., 0, 0], each_block(reference.weights, blocks, mantissa_bits))


@pytest.mark.parametrize(
    ("numbers", "rounded", "without_low_bits"),
    [
        # 5.5 / 16 is half-up 6 / 16, which is 1.5 of the block's last places, and to even 2: rounded once it were 1.
        ([1.0, 0.34375], [1.0, 0.5], [1.0, 0.25]),
        # 7.75 / 4 is 8 / 4: the carry raises the block's exponent, and its last place from 0.25 to 0.5.
        ([1.9375, -0.3], [2.0, -0.5], [1.75, -0.25]),
        # There is no exponent above that of 65504, so that all-ones stay.
        ([65504.0, 1e6], [57344.0, 57344.0], [57344.0, 57344.0]),
        # The smallest exponent has a last place of 2**-16, whatever the block holds.
        ([2.0**-17, 2.0**-18], [2.0**-16, 0.0], [0.0, 0.0]),
    ],
)
def test_examples_with_three_magnitude_bits(
    numbers: list[float], rounded: list[float], without_low_bits: list[float]
) -> None:
    block = np.zeros((1, BLOCK), np.float32)
    block[0, :2] = numbers
    assert what_a_convolution_reads(block, 4)[0, :2].tolist() == rounded
    assert what_a_convolution_reads(block, 4, folded=True)[0, :2].tolist() == without_low_bits


def test_blocks_of_weights_run_along_input_channels_and_end_with_them() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 21, 2, 3)).astype(np.float32)
    found = published_weights(weight, PublishedFormat(3, 8))
    for output, *tap in np.ndindex(3, 2, 3):
        taken = weight[output, :, *tap].tolist()
        expected = [value for start in (0, 8, 16) for value in reference.weights(taken[start : start + 8], 3)]
        np.testing.assert_array_equal(found[output, :, *tap], np.array(expected, float))


def stored(maps: Maps) -> NDArray[np.float64]:
    """Maps in FP16, which saturate."""
    return np.clip(maps, -65504, 65504).astype(np.float16).astype(np.float64)


def converted(maps: Maps, config: Config, quantize: Quantizer) -> NDArray[np.float64]:
    """Maps as a convolution reads them."""
    format, channels = config.formats.activation, np.moveaxis(maps, 1, -1)
    result = np.empty(channels.shape)
    for position in np.ndindex(*channels.shape[:-1]):
        for start in range(0, channels.shape[-1], format.block_size):
            block = slice(start, start + format.block_size)
            result[position][block] = quantize(channels[position][block].tolist(), format.mantissa_bits - 1)
    return np.moveaxis(result, -1, 1)


def expected_layer(graph: Graph, node: Node, maps: Mapping[str, Maps], config: Config) -> NDArray[np.float64]:
    """A layer in float64 from stored maps, before it is stored itself."""
    operands = {role: maps[name] for role, name in node.inputs.items() if graph.is_value(name)}
    constants = {role: graph.array(name) for role, name in node.inputs.items() if not graph.is_value(name)}
    if isinstance(node.op, Conv):
        folded = any(port.value == node.inputs["x"] and port.fold for port in graph.inputs)
        operands["x"] = converted(operands["x"], config, reference.truncated if folded else reference.activations)
        format = config.formats.weight
        constants["weight"] = published_weights(
            constants["weight"], PublishedFormat(format.mantissa_bits - 1, format.block_size)
        )
    values = tuple(Value(role, array.shape[1:]) for role, array in operands.items())
    ports = tuple(Port(value.name, value.name, AXES) for value in values)
    alone = replace(node, inputs={role: role for role in node.inputs})
    single = Graph(node.name, values, (alone,), constants, ports, (Port("y", node.name, AXES),))
    return float_reference.evaluate(single, operands)[node.name]


@pytest.mark.parametrize("seed", range(12))
def test_every_layer_of_random_networks(seed: int, tmp_path: Path) -> None:
    config = with_widths(5, 4, block=(8, 16, 32)[seed % 3])
    onnx.save(random_network(seed), tmp_path / "network.onnx")
    prepared = prepare_network(tmp_path / "network.onnx", config, None)
    graph = prepared.graph
    names = [node.name for node in graph.nodes]
    inputs = {name: maps[:1] for name, maps in folded_inputs(graph, prepared.data.arrays).items()}
    maps: dict[str, Maps] = {name: stored(array) for name, array in inputs.items()}
    maps |= published_runner(graph, config, names)(inputs)
    for node in graph.nodes:
        expected = expected_layer(graph, node, maps, config)
        found = maps[node.name]
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, stored(found))
        if isinstance(node.op, Layer) and not isinstance(node.op.tail.activation, Table):  # whose slopes may be steep
            largest = min(np.abs(expected).max(), 65504)
            np.testing.assert_allclose(found, np.clip(expected, -65504, 65504), rtol=2**-11, atol=1e-5 * largest)


def test_depthwise_layers_and_residuals_read_maps_in_float16() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 8, 4, 4)).astype(np.float32)
    value = Value("x", (8, 4, 4))
    ones = {"weight": np.ones((8, 1, 1, 1), np.float32)}
    for op, inputs, factor in (
        (Depthwise((1, 1)), {"x": "x", "weight": "weight"}, 1),
        (Pass(tail=Tail()), {"x": "x", "residual": "x"}, 2),
    ):
        node = Node(op, inputs, Value("y", value.shape))
        graph = Graph("plain", (value,), (node,), ones, (Port("x", "x", AXES),), (Port("y", "y", AXES),)).check()
        np.testing.assert_array_equal(published_runner(graph, PUBLISHED, ["y"])({"x": x})["y"], factor * stored(x))


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": (Override.model_validate({"position": "first", "weight": {"mantissa_bits": 8}}),)},
        {"formats": Formats.model_validate({"input": {"mantissa_bits": 8}})},
    ],
)
def test_layers_have_no_formats_of_their_own(change: dict[str, object]) -> None:
    graph = Graph("empty", (), (), {}, (), ())
    with pytest.raises(ConfigError, match="one format for all layers"):
        published_runner(graph, PUBLISHED.model_copy(update=change), [])


def test_it_has_no_hardware(tmp_path: Path) -> None:
    onnx.save(random_network(0), tmp_path / "network.onnx")
    with pytest.raises(ConfigError, match="bfpc evaluate"):
        compile_model(tmp_path / "network.onnx", PUBLISHED, tmp_path / "build", dump_ir=tmp_path / "ir")
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
