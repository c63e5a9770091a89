"""A small ONNX model of many kinds of nodes, and models that differ from it in ways that no exporter knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.fuzz.mutations import HOSTILE_NUMBERS, HOSTILE_STRINGS, mutate_bytes

OPERATORS = (
    *("Relu", "Conv", "Add", "Mul", "MaxPool", "AveragePool", "Reshape", "Transpose", "Concat", "Split", "Slice"),
    *("Gemm", "MatMul", "Resize", "Pad", "Clip", "Softmax", "ConvTranspose", "BatchNormalization", "ReduceMean"),
    *("Squeeze", "Unsqueeze", "Flatten", "Expand", "Tile", "Range", "ConstantOfShape", "Constant", "Shape", "Gather"),
    *("Cast", "PRelu", "LRN", "DepthToSpace", "GlobalAveragePool", "DequantizeLinear", "QuantizeLinear", "Loop", "If"),
    *("TopK", "NonMaxSuppression", "Where", "OneHot", "EyeLike", "Einsum", "LSTM", "Dropout", "Nonsense", ""),
)
ATTRIBUTES = (
    *("kernel_shape", "strides", "pads", "dilations", "group", "axis", "axes", "perm", "auto_pad", "to", "epsilon"),
    *("keepdims", "alpha", "value", "mode", "transA", "blocksize", "num_outputs", "ceil_mode", "size", "body"),
)


@cache
def sound_model() -> onnx.ModelProto:
    """Runs on the accelerator but for its Softmax."""
    random = np.random.default_rng(0)

    def constant(name: str, value: Any) -> TensorProto:
        return numpy_helper.from_array(np.asarray(value), name)

    def weight(name: str, *shape: int) -> TensorProto:
        return constant(name, random.normal(size=shape).astype(np.float32))

    variances = constant("variances", np.ones(8, np.float32))
    constants = [
        *(weight("w0", 8, 3, 3, 3), weight("b0", 8), weight("w1", 8, 1, 3, 3), weight("w2", 5, 8), weight("b2", 5)),
        *(weight("scale", 8), weight("shift", 8), weight("means", 8), variances),
        *(constant("low", np.float32(0)), constant("high", np.float32(6)), constant("shape", np.array([0, -1]))),
        *(constant("starts", np.array([0, 0])), constant("ends", np.array([4, 4])), constant("axes", np.array([2, 3]))),
        constant("sizes", np.array([1, 1, 2, 2], np.float32)),
    ]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "conv0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c0", "scale", "shift", "means", "variances"], ["n0"], "norm0", epsilon=1e-5),
        node("Clip", ["n0", "low", "high"], ["a0"], "clip0"),
        node("Conv", ["a0", "w1"], ["c1"], "conv1", group=8, pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c1"], ["s1"], "sigmoid1"),
        node("Add", ["s1", "a0"], ["r1"], "add1"),
        node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p1", "", "sizes"], ["u1"], "resize1", mode="nearest"),
        node("Slice", ["u1", "starts", "ends", "axes"], ["l1"], "slice1"),
        node("GlobalAveragePool", ["l1"], ["g1"], "mean1"),
        node("Reshape", ["g1", "shape"], ["f1"], "flatten1"),
        node("Gemm", ["f1", "w2", "b2"], ["y1"], "gemm1", transB=1),
        node("Softmax", ["y1"], ["y"], "softmax1", axis=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])]
    graph = helper.make_graph(nodes, "fuzzed", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mutated_model(random: Random) -> bytes:
    """A model file: changed as bytes, or in what its messages say."""
    if random.random() < 0.3:
        return mutate_bytes(random, sound_model().SerializeToString())
    model = onnx.ModelProto()
    model.CopyFrom(sound_model())
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        random.choice(list(CHANGES.values()))(random, model)
    return bytes(model.SerializeToString())


def _some_node(random: Random, model: onnx.ModelProto) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = [*model.graph.node]
    return random.choice(nodes or [onnx.NodeProto()])


def _some_constant(random: Random, model: onnx.ModelProto) -> TensorProto:
    constants: list[TensorProto] = [*model.graph.initializer]
    return random.choice(constants or [TensorProto()])


def _some_name(random: Random, model: onnx.ModelProto) -> str:
    names: list[str] = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return random.choice([*names, *HOSTILE_STRINGS])


def _numbers(random: Random) -> list[int]:
    return [random.choice(HOSTILE_NUMBERS) for _ in range(random.choice((0, 1, 2, 4, 5)))]


def change_attribute(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    values: tuple[Any, ...] = (
        *(random.choice(HOSTILE_NUMBERS), _numbers(random), random.choice((0.0, -1.0, 1e38, float("nan")))),
        *(random.choice(HOSTILE_STRINGS), numpy_helper.from_array(np.zeros(random.choice((0, 1, 3)), np.int64))),
    )
    names = [*(attribute.name for attribute in node.attribute), random.choice(ATTRIBUTES)]
    name, value = random.choice(names), random.choice(values)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    made = AttributeProto(name=name) if value == [] else helper.make_attribute(name, value)
    made.type = made.type or random.choice(AttributeProto.AttributeType.values())
    del node.attribute[:]
    node.attribute.extend([*kept, made])


def change_attribute_type(random: Random, model: onnx.ModelProto) -> None:
    for attribute in _some_node(random, model).attribute[:1]:
        attribute.type = random.choice(AttributeProto.AttributeType.values())


def drop_attributes(random: Random, model: onnx.ModelProto) -> None:
    del _some_node(random, model).attribute[:]


def change_operator(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    node.op_type = random.choice(OPERATORS)
    if random.random() < 0.2:
        node.domain = random.choice(("ai.onnx.ml", "mine", "com.microsoft", "ai.onnx", *HOSTILE_STRINGS))


def change_operand(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    operands = random.choice((node.input, node.output))
    if operands:
        operands[random.randrange(len(operands))] = _some_name(random, model)


def change_operand_count(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    operands = random.choice((node.input, node.output))
    if operands and random.random() < 0.5:
        del operands[-1]
    else:
        operands.append(_some_name(random, model))


def change_order(random: Random, model: onnx.ModelProto) -> None:
    nodes = [*model.graph.node]
    random.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def repeat_node(random: Random, model: onnx.ModelProto) -> None:
    model.graph.node.add().CopyFrom(_some_node(random, model))


def drop_node(random: Random, model: onnx.ModelProto) -> None:
    if model.graph.node:
        del model.graph.node[random.randrange(len(model.graph.node))]


def drop_constant(random: Random, model: onnx.ModelProto) -> None:
    if model.graph.initializer:
        del model.graph.initializer[random.randrange(len(model.graph.initializer))]


def change_constant_shape(random: Random, model: onnx.ModelProto) -> None:
    constant = _some_constant(random, model)
    constant.dims[:] = random.choice(([*constant.dims][::-1], [*constant.dims, 1], _numbers(random)))


def change_constant_type(random: Random, model: onnx.ModelProto) -> None:
    _some_constant(random, model).data_type = random.choice((*TensorProto.DataType.values(), 99, -1))


def change_constant_data(random: Random, model: onnx.ModelProto) -> None:
    constant = _some_constant(random, model)
    constant.raw_data = mutate_bytes(random, constant.raw_data)


def change_constant_values(random: Random, model: onnx.ModelProto) -> None:
    constant = _some_constant(random, model)
    dtype = random.choice((np.float32, np.int64, np.float64, np.float16))
    shape = [size for size in constant.dims if 0 <= size < 100]
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.full(shape, random.choice((0, -1, 1e-30, 1e30, np.nan, np.inf, 1 << 40))).astype(dtype)
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def make_constant_external(random: Random, model: onnx.ModelProto) -> None:
    constant = _some_constant(random, model)
    constant.data_location = TensorProto.EXTERNAL
    for key in ("location", "offset", "length"):
        entry = constant.external_data.add()
        values = HOSTILE_STRINGS if key == "location" else map(str, HOSTILE_NUMBERS)
        entry.key, entry.value = key, random.choice([*values])


def change_tensor_type(random: Random, model: onnx.ModelProto) -> None:
    value = random.choice([*model.graph.input, *model.graph.output] or [onnx.ValueInfoProto()])
    value.type.tensor_type.elem_type = random.choice((*TensorProto.DataType.values(), 99))


def change_tensor_shape(random: Random, model: onnx.ModelProto) -> None:
    value = random.choice([*model.graph.input, *model.graph.output] or [onnx.ValueInfoProto()])
    shape = value.type.tensor_type.shape
    if not shape.dim or random.random() < 0.2:
        shape.dim.add()
    dim = random.choice(shape.dim)
    if random.random() < 0.3:
        dim.dim_param = random.choice(HOSTILE_STRINGS)
    else:
        dim.dim_value = random.choice(HOSTILE_NUMBERS)


def change_value_kind(random: Random, model: onnx.ModelProto) -> None:
    value = random.choice([*model.graph.input, *model.graph.output] or [onnx.ValueInfoProto()])
    value.type.Clear()
    if random.random() < 0.7:
        value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def add_output(random: Random, model: onnx.ModelProto) -> None:
    model.graph.output.add(name=_some_name(random, model))


def drop_inputs(random: Random, model: onnx.ModelProto) -> None:
    del random.choice((model.graph.input, model.graph.output))[:]


def rename_constant(random: Random, model: onnx.ModelProto) -> None:
    _some_constant(random, model).name = _some_name(random, model)


def rename_node(random: Random, model: onnx.ModelProto) -> None:
    _some_node(random, model).name = random.choice(HOSTILE_STRINGS)


def change_opset(random: Random, model: onnx.ModelProto) -> None:
    for entry in model.opset_import:
        entry.version = random.choice((*HOSTILE_NUMBERS, 6, 7, 9, 11, 13, 18, 21, 99))
    if random.random() < 0.3:
        model.opset_import.add(domain=random.choice(("mine", "ai.onnx", "")), version=random.choice((1, 17, -5)))
    if random.random() < 0.1:
        del model.opset_import[:]
    if random.random() < 0.2:
        model.ir_version = random.choice((-1, 0, 3, 99, 1 << 40))


def add_body(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    body = helper.make_graph(
        list(model.graph.node[:2]), "body", [], [model.graph.output[0]] if model.graph.output else []
    )
    node.op_type = random.choice(("If", "Loop", "Scan", "Relu"))
    node.attribute.append(helper.make_attribute(random.choice(("then_branch", "else_branch", "body")), body))


def nest_bodies(random: Random, model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    for _ in range(random.choice((3, 10, 20))):
        node = helper.make_node(
            "If", ["x"], ["z"], then_branch=body, else_branch=helper.make_graph([], "other", [], [])
        )
        body = helper.make_graph([node], "body", [], [])
    model.graph.node.extend(body.node)


def add_function(random: Random, model: onnx.ModelProto) -> None:
    """Which may call itself."""
    called = random.choice(("F", "Relu"))
    node = helper.make_node(called, ["a"], ["b"], domain="mine" if called == "F" else "")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [node], opsets))
    model.opset_import.add(domain="mine", version=1)
    some = _some_node(random, model)
    some.op_type, some.domain = "F", "mine"


def add_sparse_constant(random: Random, model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(_some_constant(random, model))
    sparse.indices.CopyFrom(_some_constant(random, model))
    sparse.dims.extend(_numbers(random))


def add_large_constant(random: Random, model: onnx.ModelProto) -> None:
    """A few bytes that stand for many."""
    shape = numpy_helper.from_array(np.array(_numbers(random), np.int64), "large_shape")
    model.graph.initializer.append(shape)
    node = _some_node(random, model)
    operator = random.choice(("ConstantOfShape", "Expand", "Tile", "Range"))
    inputs = {"Expand": ["low", "large_shape"], "Tile": ["w2", "large_shape"], "Range": ["low", "high", "low"]}
    made = helper.make_node(operator, inputs.get(operator, ["large_shape"]), ["large"], "large")
    model.graph.node.insert(0, made)
    if node.input:
        node.input[-1] = "large"


def quantize(random: Random, model: onnx.ModelProto) -> None:
    node = _some_node(random, model)
    if node.input:
        pair = ("QuantizeLinear", "q"), ("DequantizeLinear", "d")
        source = node.input[0]
        for operator, name in pair[random.randrange(2) :]:
            made = helper.make_node(operator, [source, random.choice(("low", "high", "w0", "scale")), "shape"], [name])
            model.graph.node.insert(0, made)
            source = name
        node.input[0] = "d"


CHANGES: Mapping[str, Callable[[Random, onnx.ModelProto], None]] = {
    change.__name__: change
    for change in (
        *(change_attribute, change_attribute_type, drop_attributes, change_operator, change_operand),
        *(change_operand_count, change_order, repeat_node, drop_node, drop_constant, change_constant_shape),
        *(change_constant_type, change_constant_data, change_constant_values, make_constant_external),
        *(change_tensor_type, change_tensor_shape, change_value_kind, add_output, drop_inputs, rename_constant),
        *(rename_node, change_opset, add_body, nest_bodies, add_function, add_sparse_constant, add_large_constant),
        quantize,
    )
}
