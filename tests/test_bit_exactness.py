"""Whole networks: the emulator, the C simulation and integer arithmetic store the same bits in every layer.

One accelerator per array size, wide enough for every format, runs all networks: it is compiled once. Three of the four
have multipliers too narrow for many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bfpc import pipeline, verify
from bfpc.backend.architecture import Architecture, size_architecture
from bfpc.backend.trace import trace_names
from bfpc.comparison import Verification
from bfpc.config import Config, load_config
from bfpc.emulator.session import Emulator, real_values, stored_inputs
from bfpc.ir.layout import onnx_shape
from bfpc.runtime.simulation import build_simulation
from tests.emulator import integer_reference
from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.random_networks import random_network
from tests.networks.steps import convolutions, elementwise, pooling, structure
from tests.networks.steps.drawing import Step

PRESETS = ("int12", "int8", "int6", "int5", "int54", "int4")
ARRAYS: tuple[dict[str, int], ...] = (
    {"c_vec": 32, "k_vec": 32, "block": 4, "accumulator_positions": 64, "activation_bits": 12, "weight_bits": 12},
    {"c_vec": 64, "k_vec": 16, "block": 4, "feature_depth": 256, "accumulator_positions": 64, "activation_bits": 4,
     "weight_bits": 4, "on_chip_kilobytes": 0},
    {"c_vec": 8, "k_vec": 8, "block": 4, "accumulator_positions": 128, "activation_bits": 12, "weight_bits": 3,
     "on_chip_kilobytes": 1},
    {"c_vec": 64, "k_vec": 64, "block": 16, "feature_depth": 256, "activation_bits": 5, "weight_bits": 12},
)  # fmt: skip
ONE_STEP: tuple[Step, ...] = (
    *(convolutions.conv_same, convolutions.depthwise, elementwise.relu, elementwise.prelu, elementwise.function),
    *(pooling.pool, structure.concat, structure.channel_shuffle, structure.pad),
)
Simulations = dict[str, Path]


@pytest.fixture(scope="session")
def simulations() -> Simulations:
    """The executables compiled so far, by their sources."""
    return {}


@pytest.fixture(autouse=True)
def build_once(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal generated sources are compiled once, and quickly."""

    def build(folder: Path) -> Path:
        sources = "".join(path.read_text() for path in sorted((folder / "hls").rglob("*.[ch]pp")))
        if sources not in simulations:
            simulations[sources] = build_simulation(folder)
        return simulations[sources]

    monkeypatch.setenv("CXXFLAGS", "-O1")
    monkeypatch.setattr(verify, "build_simulation", build)


@pytest.fixture
def widest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memories, and multipliers that are not set, are as wide as any format needs."""

    def size(*arguments: Any) -> Architecture:
        graph, settings, array = arguments
        given = settings.model_dump(exclude_unset=True)
        multiplied: dict[str, Any] = {key: given.get(key, 12) for key in ("activation_bits", "weight_bits")}
        stored: dict[str, Any] = {
            "feature_bits": 13,
            "dense_weight_bits": 12,
            "depthwise_weight_bits": 12,
            "max_mantissa_bits": 12,
        }
        return replace(size_architecture(graph, settings, array), **multiplied, **stored)

    monkeypatch.setattr(pipeline, "size_architecture", size)


def compile_and_verify(model: onnx.ModelProto, config: Config, folder: Path) -> Verification:
    onnx.save(model, folder / "network.onnx")
    pipeline.compile_model(folder / "network.onnx", config, folder / "build")
    return verify.verify(folder / "build", count=2, csim=True)


def assert_bit_exact(found: Verification) -> None:
    assert found.bit_exact, found.failures


def random_config(seed: int, array: Mapping[str, int]) -> Config:
    """Any mantissa widths, blocks and windows that the array takes."""
    rng = np.random.default_rng(seed)
    blocks = [size for size in (4, 8, 16, 32, 64) if array["block"] <= size <= array["k_vec"]]

    def format(max_range: int) -> dict[str, int]:
        bits, window = int(rng.integers(2, 13)), int(rng.integers(0, max_range + 1))
        return {"mantissa_bits": bits, "exponent_range": window, "block_size": int(rng.choice(blocks))}

    maps = {name: format(7) for name in ("activation", "input", "output")}
    depthwise = {"mantissa_bits": int(rng.integers(2, 13)), "exponent_range": int(rng.integers(0, 4))}
    formats = {**maps, "weight": format(3), "depthwise_weight": depthwise}
    architecture = {**array, "accumulator_bits": 48}
    return Config.model_validate({"formats": formats, "architecture": architecture, "calibration": {"images": 2}})


@pytest.mark.usefixtures("widest")
@pytest.mark.parametrize("seed", range(60))
def test_random_networks_with_random_formats(seed: int, tmp_path: Path) -> None:
    config = random_config(seed, ARRAYS[seed % len(ARRAYS)])
    assert_bit_exact(compile_and_verify(random_network(seed, with_host=seed % 3 == 0), config, tmp_path))


@pytest.mark.usefixtures("widest")
@pytest.mark.parametrize("seed", range(20))
def test_random_upsampling_with_aligned_corners(seed: int, tmp_path: Path) -> None:
    """Of whatever a random step makes of a map, twice, before a random step."""
    rng = np.random.default_rng(seed)
    net = OnnxWriter(rng, opset=18)
    x = convolutions.conv(net, net.input(1, 5, *(int(size) for size in rng.integers(3, 8, 2))))
    for _ in range(2):
        x = structure.resize_aligned(net, ONE_STEP[rng.integers(len(ONE_STEP))](net, x))
    model = net.finish(f"upsampling{seed}", [ONE_STEP[rng.integers(len(ONE_STEP))](net, x)])
    assert_bit_exact(compile_and_verify(model, random_config(seed, ARRAYS[seed % len(ARRAYS)]), tmp_path))


@pytest.mark.usefixtures("widest")
@pytest.mark.parametrize("block_size", [8, 16, 32, 64])
@pytest.mark.parametrize("preset", ["int8", "int54", "int4"])
def test_presets_with_blocks_of_any_size(preset: str, block_size: int, tmp_path: Path) -> None:
    document = load_config(preset).model_dump(mode="json", exclude_unset=True)
    for kind in ("activation", "weight"):
        document["formats"][kind]["block_size"] = block_size
    document["architecture"] = {"c_vec": 64, "k_vec": 64, "block": 8, "accumulator_bits": 48}
    seed = 300 + block_size + len(preset)
    assert_bit_exact(compile_and_verify(random_network(seed), Config.model_validate(document), tmp_path))


@pytest.mark.parametrize(("seed", "preset"), list(enumerate(PRESETS, start=100)))
def test_presets_on_arrays_sized_to_the_network(seed: int, preset: str, tmp_path: Path) -> None:
    assert_bit_exact(compile_and_verify(random_network(seed), load_config(preset), tmp_path))


@pytest.mark.parametrize(("seed", "preset"), [(110, "int8"), (111, "int12"), (112, "int54")])
def test_presets_on_an_array_of_4_by_3_bits(seed: int, preset: str, tmp_path: Path) -> None:
    document = load_config(preset).model_dump(mode="json", exclude_unset=True)
    document["architecture"] = {"activation_bits": 4, "weight_bits": 3}
    assert_bit_exact(compile_and_verify(random_network(seed), Config.model_validate(document), tmp_path))


@pytest.mark.parametrize("seed", range(220, 235))
def test_every_layer_of_a_compiled_network_is_what_integers_give(seed: int, tmp_path: Path) -> None:
    onnx.save(random_network(seed), tmp_path / "network.onnx")
    config = random_config(seed, ARRAYS[seed % len(ARRAYS)])
    graph = pipeline.compile_model(tmp_path / "network.onnx", config, tmp_path / "build").design.graph
    rng = np.random.default_rng(seed)
    shapes = {port.name: onnx_shape(port.axes, port.map_shape(graph.value(port.value))) for port in graph.inputs}
    tensors = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    inputs = stored_inputs(graph, tensors)
    found = Emulator(graph, trace_names(graph), stored=True).run_stored(real_values(inputs))
    expected = integer_reference.run(graph, {name: integer_reference.image(maps) for name, maps in inputs.items()})
    for name, maps in found.items():
        np.testing.assert_array_equal(maps.mantissas[0], expected[name].mantissas, name)
        np.testing.assert_array_equal(maps.offsets[0], expected[name].offsets, name)


# -- networks drawn by hand -------------------------------------------------------------------------------------------

Build = Callable[[OnnxWriter], list[Tensor]]


def conv(net: OnnxWriter, x: Tensor, outputs: int, kernel: int = 1) -> Tensor:
    weight = net.normal(outputs, x.shape[1], kernel, kernel, scale=(x.shape[1] * kernel**2) ** -0.5)
    shape = (1, outputs, *x.shape[2:])
    return net.node("Conv", [x.name, weight, net.normal(outputs)], shape, pads=[kernel // 2] * 4)


def concat(net: OnnxWriter, *parts: Tensor) -> Tensor:
    channels = sum(part.shape[1] for part in parts)
    return net.node("Concat", [part.name for part in parts], (1, channels, *parts[0].shape[2:]), axis=1)


def relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Relu", [x.name], x.shape)


def concat_written_in_place(net: OnnxWriter) -> list[Tensor]:
    """Nested, of whole channel groups but the last."""
    x = net.input(1, 6, 5, 7)
    inner = concat(net, relu(net, conv(net, x, 32)), conv(net, x, 64, 3))
    return [conv(net, concat(net, conv(net, x, 32), inner), 9)]


def concat_off_the_groups(net: OnnxWriter) -> list[Tensor]:
    x = net.input(1, 6, 5, 7)
    return [conv(net, concat(net, conv(net, x, 5), conv(net, x, 33, 3), conv(net, x, 8)), 9, 3)]


def concat_of_shared_maps(net: OnnxWriter) -> list[Tensor]:
    """The same map twice, in two concatenations, the network's input, and a concatenation that is an output."""
    x = net.input(1, 32, 4, 4)
    shared = relu(net, conv(net, x, 32))
    first, second = concat(net, shared, shared), concat(net, x, shared)
    return [conv(net, first, 4), second]


def channel_slices(net: OnnxWriter) -> list[Tensor]:
    x = conv(net, net.input(1, 3, 6, 6), 40)
    bounds = {"starts": [5], "ends": [38], "axes": [1]}
    middle = net.with_integers("Slice", x, (1, 33, 6, 6), 10, bounds)
    pads = {"pads": [0, 3, 1, 0, 0, 4, 0, 2]}
    return [net.with_integers("Pad", middle, (1, 40, 7, 8), 11, pads, mode="constant")]


def pool_cascade(net: OnnxWriter) -> list[Tensor]:
    """Pools of pools, maximum and average, padded and not, and one that two layers read."""
    x = relu(net, conv(net, net.input(1, 3, 13, 9), 16, 3))
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    x = net.node("MaxPool", [x.name], (1, 16, 7, 5), pads=[1, 1, 1, 1], **window)
    y = net.node("AveragePool", [x.name], (1, 16, 4, 3), pads=[1, 1, 1, 1], count_include_pad=1, **window)
    z = net.node("AveragePool", [x.name], (1, 16, 4, 3), pads=[1, 1, 1, 1], **window)
    return [
        conv(net, net.node("Add", [y.name, z.name], y.shape), 5),
        net.node("GlobalMaxPool", [x.name], (1, 16, 1, 1)),
    ]


def several_inputs_and_outputs(net: OnnxWriter) -> list[Tensor]:
    """Two inputs, one of them only added; an output that other layers read, and one in another layout."""
    x, y = net.input(1, 3, 6, 5), net.input(1, 20, 6, 5)
    early = net.node("Add", [conv(net, x, 20, 3).name, y.name], y.shape)
    late = conv(net, relu(net, early), 7)
    return [early, net.node("Transpose", [late.name], (1, 6, 5, 7), perm=[0, 2, 3, 1])]


def channels_last(net: OnnxWriter) -> list[Tensor]:
    x = net.input(1, 9, 11, 3)
    first = net.node("Transpose", [x.name], (1, 3, 9, 11), perm=[0, 3, 1, 2])
    y = conv(net, relu(net, conv(net, first, 21, 3)), 6)
    return [net.node("Transpose", [y.name], (1, 9, 11, 6), perm=[0, 2, 3, 1])]


def single_positions(net: OnnxWriter) -> list[Tensor]:
    """1x1 maps, one channel, and a stride beyond the kernel."""
    x = net.input(1, 1, 7, 1)
    y = net.node("Conv", [x.name, net.normal(1, 1, 1, 1)], (1, 1, 2, 1), strides=[5, 3])
    flat = net.node("Flatten", [y.name], (1, 2))
    return [net.node("Gemm", [flat.name, net.normal(2, 70), net.normal(70)], (1, 70))]


def encoder_and_decoder(net: OnnxWriter) -> list[Tensor]:
    """As UNet: a transposed convolution doubles the map, which joins the one of that size, in whole channel groups."""
    x = net.input(1, 3, 8, 12)
    skip = relu(net, conv(net, x, 64, 3))
    inner = net.node("MaxPool", [skip.name], (1, 64, 4, 6), kernel_shape=[2, 2], strides=[2, 2])
    inner = relu(net, conv(net, inner, 128, 3))
    weight = net.normal(128, 64, 2, 2, scale=128**-0.5)
    size = {"kernel_shape": [2, 2], "strides": [2, 2]}
    outer = net.node("ConvTranspose", [inner.name, weight, net.normal(64)], (1, 64, 8, 12), **size)
    return [conv(net, relu(net, conv(net, concat(net, skip, outer), 64, 3)), 2)]


def aligned_decoder(net: OnnxWriter) -> list[Tensor]:
    """As UNet with linear upsampling whose corners are aligned, by 2 and then by 3."""
    skip = relu(net, conv(net, net.input(1, 3, 18, 12), 40, 3))
    x = net.node("MaxPool", [skip.name], (1, 40, 3, 2), kernel_shape=[6, 6], strides=[6, 6])
    x = aligned(net, relu(net, conv(net, x, 70, 3)), 2)
    x = aligned(net, relu(net, conv(net, x, 40, 3)), 3)
    return [conv(net, relu(net, conv(net, concat(net, skip, x), 40, 3)), 2)]


def aligned(net: OnnxWriter, x: Tensor, factor: int) -> Tensor:
    return net.resize(x, [factor, factor], "linear", "align_corners")


def detector(net: OnnxWriter) -> list[Tensor]:
    """As SSD: L2 normalization, a wide dilation, and heads whose boxes are joined, of which the host makes scores."""
    x = relu(net, conv(net, net.input(1, 3, 10, 10), 24, 3))
    length = net.node("ReduceL2", [x.name], (1, 1, 10, 10), axes=[1], keepdims=1)
    unit = net.node("Div", [x.name, length.name], x.shape)
    first = net.node("Mul", [unit.name, net.constant(np.full((1, 24, 1, 1), 20, np.float32))], x.shape)
    weight = net.normal(32, 24, 3, 3, scale=216**-0.5)
    second = net.node("Conv", [x.name, weight], (1, 32, 10, 10), pads=[6] * 4, dilations=[6] * 2)
    boxes = []
    for part in (first, relu(net, second)):
        last = net.node("Transpose", [conv(net, part, 12, 3).name], (1, 10, 10, 12), perm=[0, 2, 3, 1])
        boxes.append(net.reshape(last, (1, 300, 4)))
    joined = net.node("Concat", [part.name for part in boxes], (1, 600, 4), axis=1)
    return [net.node("Softmax", [joined.name], (1, 600, 4), axis=2)]


def gates(net: OnnxWriter) -> list[Tensor]:
    """As EfficientNet: SiLU, and a map times what two small layers make of its averages."""
    x = silu(net, conv(net, net.input(1, 3, 7, 9), 40, 3))
    pooled = net.node("GlobalAveragePool", [x.name], (1, 40, 1, 1))
    gate = conv(net, silu(net, conv(net, pooled, 10)), 40)
    gate = net.node("Sigmoid", [gate.name], gate.shape)
    return [conv(net, net.node("Mul", [x.name, gate.name], x.shape), 12)]


def silu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Mul", [x.name, net.node("Sigmoid", [x.name], x.shape).name], x.shape)


def inverted_residuals(net: OnnxWriter) -> list[Tensor]:
    """As MobileNetV2: depthwise layers that run behind the dense layers whose maps they read, but for one output."""
    x = relu(net, conv(net, net.input(1, 3, 21, 30), 12, 3))
    for stride, outputs in ((1, 12), (2, 20), (1, 20)):
        wide = relu(net, conv(net, x, 6 * x.shape[1]))
        filtered = net.node("Conv", [wide.name, net.normal(wide.shape[1], 1, 3, 3, scale=0.3)], _strided(wide, stride),
                            group=wide.shape[1], strides=[stride] * 2, pads=[1] * 4)  # fmt: skip
        y = conv(net, relu(net, filtered), outputs)
        x = net.node("Add", [x.name, y.name], y.shape) if y.shape == x.shape else y
    return [wide, x]


def _strided(x: Tensor, stride: int) -> tuple[int, ...]:
    return (*x.shape[:2], *(-(-size // stride) for size in x.shape[2:]))


def shuffled(net: OnnxWriter) -> list[Tensor]:
    """As ShuffleNet: half of the channels pass, and all are shuffled."""
    x = relu(net, conv(net, net.input(1, 3, 6, 6), 64, 3))
    kept, changed = net.parts("Split", [x.name], [(1, 32, 6, 6)] * 2, axis=1)
    joined = concat(net, kept, relu(net, conv(net, changed, 32, 3)))
    apart = net.reshape(joined, (1, 2, 32, 6, 6))
    mixed = net.node("Transpose", [apart.name], (1, 32, 2, 6, 6), perm=[0, 2, 1, 3, 4])
    return [conv(net, net.reshape(mixed, (1, 64, 6, 6)), 8)]


def host_between(net: OnnxWriter) -> list[Tensor]:
    """Twice to the host and back: what it makes is multiplied, and concatenated."""
    x = relu(net, conv(net, net.input(1, 3, 8, 8), 32, 3))
    weights = net.node("Softmax", [conv(net, x, 32).name], x.shape, axis=1)
    y = conv(net, net.node("Mul", [x.name, weights.name], x.shape), 32, 3)
    floor = net.node("Floor", [y.name], y.shape)
    return [conv(net, concat(net, y, floor), 5, 3)]


def windows_beyond_the_buffers(net: OnnxWriter) -> list[Tensor]:
    """Pools and depthwise filters in several steps, on slices of the channels, and an average as a sum."""
    x = relu(net, conv(net, net.input(1, 3, 29, 35), 40, 3))
    largest = net.node("MaxPool", [x.name], (1, 40, 15, 18), kernel_shape=[13, 13], strides=[2, 2], pads=[6] * 4)
    average = net.node("AveragePool", [x.name], (1, 40, 29, 35), kernel_shape=[27, 27], pads=[13] * 4)
    weight = net.normal(40, 1, 12, 9, scale=0.1)
    kernel = {"kernel_shape": [12, 9], "strides": [3, 5], "group": 40, "pads": [4, 3, 2, 1]}
    filtered = net.node("Conv", [x.name, weight, net.normal(40)], (1, 40, 8, 7), **kernel)
    return [largest, conv(net, average, 5), relu(net, filtered)]


NETWORKS: tuple[Build, ...] = (
    *(concat_written_in_place, concat_off_the_groups, concat_of_shared_maps, channel_slices),
    *(pool_cascade, several_inputs_and_outputs, channels_last, single_positions),
    *(encoder_and_decoder, aligned_decoder, detector, gates, shuffled, host_between),
    inverted_residuals,
    windows_beyond_the_buffers,
)


@pytest.mark.usefixtures("widest")
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
@pytest.mark.parametrize("array", ARRAYS[:3], ids=lambda array: f"{array['c_vec']}x{array['k_vec']}")
def test_networks_of_special_structure(build: Build, array: Mapping[str, int], tmp_path: Path) -> None:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    found = compile_and_verify(net.finish("special", build(net)), random_config(7, array), tmp_path)
    assert_bit_exact(found)


def test_upsampling_with_aligned_corners_keeps_the_precision_of_int8(tmp_path: Path) -> None:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    onnx.save(net.finish("decoder", aligned_decoder(net)), tmp_path / "network.onnx")
    design = pipeline.compile_model(tmp_path / "network.onnx", load_config("int8"), tmp_path / "build").design
    assert design.host == ()
    [output] = verify.verify(tmp_path / "build", count=2).outputs
    assert output.sqnr_db is not None
    assert output.sqnr_db > 30
