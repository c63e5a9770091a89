"""The exported ONNX model computes what the emulator does, in every bit, whatever onnxruntime optimizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bfpc.emulator.export import export_model
from bfpc.emulator.onnx_builder import OnnxBuilder, Tensor, float_tensor
from bfpc.emulator.quantizer import lower_input_quantizer
from bfpc.emulator.session import Emulator, real_values, stored_inputs
from bfpc.errors import ModelError
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.layout import Fold, to_onnx
from bfpc.ir.operators import Clip, Conv, Pass, Tail
from bfpc.ir.partition import HostSegment
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor
from bfpc.numerics.quantize import dequantize, quantize
from bfpc.passes.prove_accumulators import prove_accumulators
from tests.emulator.random_layers import AXES, random_layer

LEVELS = (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
Tensors = Mapping[str, NDArray[Any]]


def run(model: onnx.ModelProto, feeds: Tensors, level: ort.GraphOptimizationLevel = LEVELS[0]) -> list[NDArray[Any]]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def emulate(graph: Graph, feeds: Tensors) -> list[NDArray[Any]]:
    names = list(dict.fromkeys(port.value for port in graph.outputs))
    maps = Emulator(graph, names).run(real_values(stored_inputs(graph, feeds)))
    return [to_onnx(maps[port.value], port.axes) for port in graph.outputs]


def declared(inputs: Tensors, outputs: Tensors) -> onnx.GraphProto:
    """A network of these inputs and outputs, without any node: what an export takes of the original."""

    def declare(tensors: Tensors) -> list[onnx.ValueInfoProto]:
        kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in tensors.items()}
        return [helper.make_tensor_value_info(name, kinds[name], [*array.shape]) for name, array in tensors.items()]

    return helper.make_graph([], "network", declare(inputs), declare(outputs))


def assert_same(graph: Graph, feeds: Tensors) -> None:
    expected = emulate(graph, feeds)
    outputs = dict(zip([port.name for port in graph.outputs], expected, strict=True))
    model = export_model(graph, (), declared(feeds, outputs))
    onnx.checker.check_model(model, full_check=True)
    for level in LEVELS:
        for found, wanted in zip(run(model, feeds, level), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


# -- the input quantizer ----------------------------------------------------------------------------------------------


def adversarial(format: BfpFormat) -> NDArray[np.float32]:
    """Powers of two and ties with their neighbours, of either sign, around the window; zeros, denormals, infinities."""
    exponents = np.arange(format.exponent - 4, format.exponent + format.exponent_range + format.mantissa_bits + 4)
    mantissas = np.array([1, 1.5, 2.5, 3, 3.5, format.max_mantissa, format.max_mantissa + 0.5, -format.min_mantissa])
    points = np.ldexp(mantissas[:, None], exponents).ravel().astype(np.float32)
    extremes = np.array([0, 1e-45, 1e-40, 1.2e-38, 2.0**-110, 1e30, 3.4e38, np.inf], np.float32)
    points = np.concatenate([points, extremes])
    near = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
    return np.concatenate([near, -near])


def quantized(x: NDArray[np.float32], format: BfpFormat, level: ort.GraphOptimizationLevel) -> NDArray[np.float32]:
    builder = OnnxBuilder()
    y = lower_input_quantizer(builder, Tensor("x"), x.shape[1:], format)
    builder.call("Identity", y, output="y")
    model = builder.model("quantizer", [float_tensor("x", x.shape)], [float_tensor("y", x.shape)])
    found: NDArray[np.float32] = run(model, {"x": x}, level)[0]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_inputs_are_quantized_as_the_host_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.choice(BLOCK_SIZES))
    bits, window, exponent = int(rng.integers(2, 13)), int(rng.integers(0, 32)), int(rng.integers(-100, 40))
    format = BfpFormat(bits, size, window, bool(rng.integers(2)), exponent)
    points = adversarial(format)
    alone = np.zeros((1, size, 1, points.size), np.float32)
    alone[0, 0, 0] = points  # each sets its block's exponent
    finite = rng.choice(points[np.isfinite(points)], (2, size, 3, 500))
    mixed = finite * (rng.random(finite.shape) < rng.random((2, 1, 3, 500)))
    for x in (alone, mixed.astype(np.float32)):
        expected = dequantize(*quantize(x, format), format)
        for level in LEVELS:
            found = quantized(x, format, level)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_every_significand_finds_its_power_of_two() -> None:
    format = BfpFormat(5, 4, 7, exponent=-6)
    significands = (np.arange(1 << 23, dtype=np.uint32) | 0x3F800000).view(np.float32)  # 1 to 2
    x = np.zeros((1, 4, 1, significands.size), np.float32)
    x[0, 0, 0], x[0, 1, 0] = significands / 4, -significands
    np.testing.assert_array_equal(quantized(x, format, LEVELS[0]), dequantize(*quantize(x, format), format))


# -- layers and layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_random_layers(seed: int) -> None:
    example = random_layer(seed)
    rng = np.random.default_rng(seed)
    feeds = {
        name: maps * 1.1 + rng.random(maps.shape, np.float32) for name, maps in real_values(example.inputs).items()
    }
    assert_same(example.graph, {name: array.astype(np.float32) for name, array in feeds.items()})


def relu_layer(x: Value, axes_in: tuple[str, ...], axes_out: tuple[str, ...], fold: Fold | None = None) -> Graph:
    assert x.format is not None
    node = Node(Pass(tail=Tail(Clip(-1.0, 2.0))), {"x": "x"}, Value("y", x.shape, replace(x.format, exponent=-5)))
    ports = (Port("x", "x", axes_in, fold), Port("y", "y", axes_out))
    return prove_accumulators(Graph("relu", (x,), (node,), {}, ports[:1], ports[1:])).check()


@pytest.mark.parametrize(
    "axes",
    [
        *permutations("NCHW"),
        ("N", "CHW"),
        ("NHW", "C"),
        ("N", "H", "WC"),
        ("N", "", "C", "HW"),
        ("CHW",),
        ("C", "H", "W"),
        ("WHC", ""),
    ],
    ids=".".join,
)
def test_layouts(axes: tuple[str, ...]) -> None:
    images = 2 if "N" in "".join(axes) else 1
    x = Value("x", (5, 3, 4), BfpFormat(6, 4, 3, exponent=-6))
    sizes = {"N": images, "C": 5, "H": 3, "W": 4}
    shape = [int(np.prod([sizes[axis] for axis in group])) for group in axes]
    tensor = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_same(relu_layer(x, axes, AXES), {"x": tensor})
    tensor = np.random.default_rng(0).standard_normal((images, 5, 3, 4)).astype(np.float32)
    assert_same(relu_layer(x, AXES, axes), {"x": tensor})


def test_a_position_alone_needs_no_axes() -> None:
    x = Value("x", (7, 1, 1), BfpFormat(6, 4, 3, exponent=-6))
    tensor = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    assert_same(relu_layer(x, ("N", "C"), ("C", "N")), {"x": tensor})


@pytest.mark.parametrize("seed", range(20))
def test_folds(seed: int) -> None:
    """Any kernel, stride and pads; the folded map ends before the pads do, with them or beyond."""
    rng = np.random.default_rng(seed)
    source = (int(rng.integers(1, 4)), int(rng.integers(4, 12)), int(rng.integers(4, 12)))
    kernel, stride = ((int(a), int(b)) for a, b in (rng.integers(1, 4, 2), rng.integers(1, 4, 2)))
    top, left, bottom, right = (int(pad) for pad in rng.integers(0, 3, 4))
    fold = Fold(source, kernel, stride, (top, left, bottom, right))
    height, width = (int(size) for size in rng.integers(1, 5, 2))
    x = Value("x", (source[0] * kernel[0] * kernel[1], height, width), BfpFormat(6, 8, 3, exponent=-6))
    graph = relu_layer(x, ("N", "H", "W", "C"), AXES, fold)
    assert_same(graph, {"x": rng.standard_normal((2, *source[1:], source[0])).astype(np.float32)})


# -- with the host's segments -----------------------------------------------------------------------------------------


Shapes = Mapping[str, Sequence[int | str]]


def segment(
    stage: int,
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    constants: Tensors | None = None,
    opset: int = 17,
    integers: Sequence[str] = (),
) -> HostSegment:
    """integers: the names of inputs and outputs that are int64; others are float32."""

    def declare(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        types = {name: TensorProto.INT64 if name in integers else TensorProto.FLOAT for name in shapes}
        return [helper.make_tensor_value_info(name, types[name], shape) for name, shape in shapes.items()]

    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "host", declare(inputs), declare(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return HostSegment(stage, model.SerializeToString(), tuple(inputs), tuple(outputs), ())


FORMAT = BfpFormat(6, 4, 3, exponent=-6)
SHAPE = (4, 3, 3)


def two_stages() -> Graph:
    """%a from the network's input; then %b from what the host makes of "a"."""
    weight = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)
    mantissas, offsets = quantize(weight, FORMAT)
    conv = Conv((3, 3), pads=(1, 1, 1, 1))
    nodes = (
        Node(conv, {"x": "x", "weight": "w"}, Value("a", SHAPE, replace(FORMAT, exponent=-4))),
        Node(Pass(), {"x": "h", "residual": "a"}, Value("b", SHAPE, FORMAT)),
    )
    values = (Value("x", SHAPE, FORMAT), Value("h", SHAPE, FORMAT))
    inputs = (Port("x", "x", AXES), Port("h", "h", ("N", "H", "W", "C"), stage=1))
    outputs = (Port("a", "a", AXES), Port("b", "b", ("N", "CHW")))
    graph = Graph("two stages", values, nodes, {"w": BfpTensor(FORMAT, mantissas, offsets)}, inputs, outputs)
    return prove_accumulators(graph).check()


def softmax_between(stage: int = 1, opset: int = 17, batch: int | str = "N") -> HostSegment:
    nodes = [
        helper.make_node("Transpose", ["a"], ["relu:1"], "first", perm=[0, 2, 3, 1]),
        helper.make_node("Softmax", ["relu:1"], ["h"], "second", axis=3),
    ]
    return segment(stage, nodes, {"a": (batch, 4, 3, 3)}, {"h": (batch, 3, 3, 4)}, opset=opset)


def expected_of(graph: Graph, host: Sequence[HostSegment], feeds: Tensors) -> dict[str, NDArray[Any]]:
    """Every ONNX tensor, stage by stage."""
    tensors = dict(feeds)
    maps: dict[str, NDArray[np.float32]] = {}
    for stage in range(4):
        for part in (part for part in host if part.stage == stage):
            model = onnx.load_model_from_string(part.model)
            results = run(model, {name: tensors[name] for name in part.inputs})
            tensors |= dict(zip(part.outputs, results, strict=True))
        known = {port.name: tensors[port.name] for port in graph.inputs if port.name in tensors}
        ready = replace(graph, inputs=tuple(port for port in graph.inputs if port.name in known))
        maps |= real_values(stored_inputs(ready, known))
        filler = {value.name: maps.get(value.name, np.zeros((2, *value.shape), np.float32)) for value in graph.values}
        found = Emulator(graph, [port.value for port in graph.outputs]).run(filler)
        tensors |= {
            port.name: to_onnx(found[port.value], port.axes)
            for port in graph.outputs
            if graph.stages[port.value] <= stage
        }
    return tensors


def assert_same_with_host(host: Sequence[HostSegment], outputs: Sequence[str], feeds: Tensors) -> onnx.ModelProto:
    graph = two_stages()
    expected = expected_of(graph, host, feeds)
    model = export_model(graph, host, declared(feeds, {name: expected[name] for name in outputs}))
    onnx.checker.check_model(model, full_check=True)
    for level in LEVELS:
        for name, found in zip(outputs, run(model, feeds, level), strict=True):
            np.testing.assert_array_equal(found, expected[name], name)
    return model


def pictures() -> dict[str, NDArray[np.float32]]:
    return {"x": np.random.default_rng(1).standard_normal((2, *SHAPE)).astype(np.float32)}


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_a_segment_between_stages(opset: int) -> None:
    model = assert_same_with_host([softmax_between(opset=opset)], ["b", "a", "h"], pictures())
    assert [value.name for value in model.graph.output] == ["b", "a", "h"]
    assert [value.name for value in model.graph.input] == ["x"]
    assert model.opset_import[0].version == opset
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_segments_of_an_old_opset_are_converted() -> None:
    """Softmax of opset 11 normalizes over all axes from `axis` on; here that is one."""
    model = assert_same_with_host([softmax_between(opset=11)], ["b"], pictures())
    assert model.opset_import[0].version == 13


def test_what_cannot_be_converted_is_named() -> None:
    vectors = {name: np.ones(SHAPE, np.float32) for name in ("scale", "shift", "mean", "variance")}
    nodes = [helper.make_node("BatchNormalization", ["a", *vectors], ["h"], spatial=0)]
    host = segment(1, nodes, {"a": ("N", *SHAPE)}, {"h": ("N", *SHAPE)}, vectors, opset=8)
    with pytest.raises(ModelError, match=r"(?s)from opset 8 to 13: Attribute spatial.*BatchNormalization.*opset 13"):
        export_model(two_stages(), [host], declared(pictures(), {}))


def test_bodies_of_control_flow_are_not_converted_in_silence() -> None:
    result = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    body = helper.make_graph([helper.make_node("Softmax", ["a"], ["z"], axis=1)], "body", [], result)
    nodes = [helper.make_node("If", ["yes"], ["h"], then_branch=body, else_branch=body)]
    shapes = {"a": ("N", *SHAPE)}, {"h": ("N", *SHAPE)}
    host = segment(1, nodes, *shapes, {"yes": np.array(True)}, opset=11)
    with pytest.raises(ModelError, match="bodies of If"):
        export_model(two_stages(), [host], declared(pictures(), {}))


def test_a_batch_that_a_segment_fixes_stays() -> None:
    model = assert_same_with_host([softmax_between(batch=2)], ["b"], pictures())
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_inputs_and_types_of_the_host_and_equal_names_of_segments() -> None:
    """An input that only the host reads, of integers; results that pass between segments; bodies of control flow."""

    def branch(node: onnx.NodeProto) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        return helper.make_graph([node], "branch", [], [result])

    first = segment(
        0,
        [
            helper.make_node("Cast", ["size"], ["relu:1"], "cast", to=TensorProto.FLOAT),
            helper.make_node("Greater", ["relu:1", "factor"], ["large"]),
            helper.make_node(
                *("If", ["large"], ["scale"]),
                then_branch=branch(helper.make_node("Mul", ["relu:1", "factor"], ["inner"])),
                else_branch=branch(helper.make_node("Identity", ["relu:1"], ["inner"])),
            ),
        ],
        {"size": ()},
        {"scale": ()},
        {"factor": np.array(0.5, np.float32)},
        integers=["size"],
    )
    scaled = helper.make_node("Mul", ["b", "scale"], ["relu:1"], "first")
    best = helper.make_node("ArgMax", ["relu:1"], ["best"], axis=1)
    last = segment(2, [scaled, best], {"b": ("N", 36), "scale": ()}, {"best": ("N", 1)}, integers=["best"])
    feeds = {**pictures(), "size": np.array(3)}
    model = assert_same_with_host([first, softmax_between(), last], ["best", "scale", "a"], feeds)
    assert {value.name for value in model.graph.input} == {"x", "size"}


def test_names_of_the_network_that_look_like_inner_ones() -> None:
    graph = relu_layer(Value("x", (4, 2, 2), FORMAT), AXES, AXES)
    graph = replace(graph, inputs=(Port("host/00/a", "x", AXES),), outputs=(Port("reshape:1", "y", AXES),))
    assert_same(graph, {"host/00/a": np.random.default_rng(0).standard_normal((1, 4, 2, 2)).astype(np.float32)})
