"""Every model the frontend refuses, and what it says: one error that names the node, the reason and what to do."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bfpc.errors import ModelError
from bfpc.frontend.reader import Network, read_model
from tests.networks.onnx_writer import OnnxWriter, Tensor

Build = Callable[[OnnxWriter, Tensor], Tensor]
MAP = (1, 4, 6, 6)


def writer(opset: int = 17) -> OnnxWriter:
    return OnnxWriter(np.random.default_rng(0), opset)


def relu_model() -> onnx.ModelProto:
    net = writer()
    x = net.input(*MAP)
    return net.finish("relu", [net.node("Relu", [x.name], MAP)])


def read(model: onnx.ModelProto, folder: Path) -> Network:
    onnx.save(model, folder / "network.onnx")
    return read_model(folder / "network.onnx")


def why_on_host(model: onnx.ModelProto, folder: Path) -> str:
    """The reasons for what the host computes, or the error if nothing else is left."""
    try:
        network = read(model, folder)
    except ModelError as error:
        return str(error)
    return "\n".join(node.reason for segment in network.host for node in segment.nodes)


# -- nodes -------------------------------------------------------------------------------------------------------------


def op(operator: str, *constants: tuple[int, ...], **attributes: object) -> Build:
    """One node on the input, with constants of the given shapes behind it."""
    return lambda net, x: net.node(operator, [x.name, *(net.normal(*shape) for shape in constants)], MAP, **attributes)


def relu_and(operator: str, **attributes: object) -> Build:
    """A node that reads the input and its Relu."""
    return lambda net, x: net.node(operator, [x.name, net.node("Relu", [x.name], MAP).name], MAP, **attributes)


def after(operator: str, build: Build, **attributes: object) -> Build:
    """A node before another."""
    return lambda net, x: build(net, net.node(operator, [x.name], MAP, **attributes))


def integer_inputs(operator: str, *values: list[int], **attributes: object) -> Build:
    """One node on the input, with constant integers behind it."""
    return lambda net, x: net.node(operator, [x.name, *(net.constant(np.array(v)) for v in values)], MAP, **attributes)


def divided_by_zero(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Div", [x.name, net.constant(np.zeros(1, np.float32))], MAP)


def weights_at_run_time(net: OnnxWriter, x: Tensor) -> Tensor:
    other = net.input(1, 4, 1, 1)
    return net.node("Conv", [x.name, net.node("Relu", [other.name], other.shape).name], MAP)


def convolution_of_channels_last(net: OnnxWriter, x: Tensor) -> Tensor:
    y = net.node("Conv", [x.name, net.normal(4, 4, 1, 1)], MAP)
    last = net.node("Transpose", [y.name], (1, 6, 6, 4), perm=[0, 2, 3, 1])
    return net.node("Conv", [last.name, net.normal(4, 6, 1, 1)], (1, 4, 6, 4))


def constant_times_map(net: OnnxWriter, x: Tensor) -> Tensor:
    flat = net.node("Flatten", [x.name], (1, 144))
    return net.node("MatMul", [net.normal(144, 1), flat.name], MAP)


def used_indices(net: OnnxWriter, x: Tensor) -> Tensor:
    pooled = net.node("MaxPool", [x.name], MAP, kernel_shape=[2, 2])
    net.nodes[-1].output.append("indices")
    cast = net.node("Cast", ["indices"], MAP, to=TensorProto.FLOAT)
    return net.node("Conv", [net.node("Add", [pooled.name, cast.name], MAP).name, net.normal(1, 4, 1, 1)], MAP)


def training_batch_norm(net: OnnxWriter, x: Tensor) -> Tensor:
    y = op("BatchNormalization", *BATCH_NORM, training_mode=1)(net, x)
    net.nodes[-1].output.extend(["running_mean", "running_variance"])
    return net.node("Relu", [y.name], MAP)


def bias_that_does_not_fit(net: OnnxWriter, x: Tensor) -> Tensor:
    pooled = net.node("GlobalMaxPool", [x.name], (1, 4, 1, 1))
    flat = net.node("Flatten", [pooled.name], (1, 4))
    product = net.node("Gemm", [flat.name, net.normal(4, 5), net.normal(5, 1)], (1, 5))
    return net.with_integers("Unsqueeze", product, (1, 5, 1, 1), 13, {"axes": [2, 3]})


def resized(factor: float, **modes: str) -> Build:
    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        scales = net.constant(np.array([1, 1, factor, factor], np.float32))
        region = net.constant(np.array([0] * 4 + [1] * 4, np.float32))
        return net.node("Resize", [x.name, region, scales], MAP, **modes)

    return build


def padded_with_minus_infinity(net: OnnxWriter, x: Tensor) -> Tensor:
    pads, value = net.constant(np.array([0, 0, 1, 1, 0, 0, 0, 0])), net.constant(np.array(-np.inf, np.float32))
    return net.node("Pad", [x.name, pads, value], MAP)


def no_indices(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Gather", [x.name, net.constant(np.zeros(0, np.int64))], MAP, axis=1)


def clip_upside_down(net: OnnxWriter, x: Tensor) -> Tensor:
    bounds = [net.constant(np.array(bound, np.float32)) for bound in (1, -1)]
    return net.node("Clip", [x.name, *bounds], MAP)


BATCH_NORM = ((4,), (4,), (4,), (4,))
CASES: tuple[tuple[str, Build], ...] = (
    ("no such operator", op("Softmax")),
    ("regroups the axes", integer_inputs("Reshape", [1, 9, 16])),
    ("lower-case letters are parts", lambda net, x: net.node("Relu", [net.reshape(x, (1, 2, 2, 6, 6)).name], MAP)),
    ("axes are \\(N, H, W, C\\), not", convolution_of_channels_last),
    ("input 1 .* computed at run time", weights_at_run_time),
    ("weights \\[4, 3, 1, 1\\] in 1 groups don't fit 4 channels", op("Conv", (4, 3, 1, 1))),
    ("bias \\[3\\] doesn't fit 4 outputs", op("Conv", (4, 4, 1, 1), (3,))),
    ("don't fit its kernel_shape", op("Conv", (4, 4, 1, 1), kernel_shape=[1, 2])),
    ("bias doesn't fit 5 outputs", bias_that_does_not_fit),
    ("output is empty", op("Conv", (4, 4, 7, 7))),
    ("auto_pad is FULL", op("Conv", (4, 4, 1, 1), auto_pad="FULL")),
    ("transA", after("Flatten", op("Gemm", (1, 3), transA=1))),
    ("isn't the channels", after("MaxPool", op("MatMul", (6, 3)), kernel_shape=[1, 1])),
    ("isn't the channels", constant_times_map),
    ("weights have shape \\[2, 144, 3\\]", after("Flatten", op("MatMul", (2, 144, 3)))),
    ("input 1 is a constant", op("Sum", (1,), (1,))),
    ("compares several maps", relu_and("Max")),
    ("differs between channels", op("Min", (4, 1, 1))),
    ("exponents differ", op("Pow", (4, 1, 1))),
    ("would broadcast", op("Pow", (2, 1, 1, 1))),
    ("input 0 is a constant", lambda net, x: net.node("Pow", [net.normal(1), x.name], MAP)),
    ("divides by zero", divided_by_zero),
    ("varies within a channel", op("Add", (6,))),
    ("would broadcast", op("Mul", (2, 1, 1, 1))),
    (
        "laid out differently",
        after("Transpose", lambda n, x: n.node("Add", [x.name, "input0"], MAP), perm=[0, 1, 3, 2]),
    ),
    ("training mode", training_batch_norm),
    ("bounds are 1.0 and -1.0", clip_upside_down),
    ("indices, is used", used_indices),
    ("dilated", op("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])),
    ("pads .* reach the size of its window", op("MaxPool", kernel_shape=[2, 2], pads=[2, 0, 0, 0])),
    ("reduces the channels", op("ReduceMax", axes=[1])),
    ("casts a feature map to INT32", after("Cast", op("Cast", to=TensorProto.FLOAT), to=TensorProto.INT32)),
    (
        "inputs are laid out differently: \\(N, C, H, W\\) and \\(N, C, W, H\\)",
        after("Transpose", lambda n, x: n.node("Concat", [x.name, "input0"], MAP, axis=1), perm=[0, 1, 3, 2]),
    ),
    ("joins positions, not channels: axis 2", relu_and("Concat", axis=2)),
    ("joins images, not channels: axis 0", relu_and("Concat", axis=0)),
    ("input 1 is a constant", op("Concat", MAP, axis=1)),
    ("reflects more than the map", integer_inputs("Pad", [0, 0, 6, 0, 0, 0, 0, 0], mode="reflect")),
    ("channels that aren't 0", integer_inputs("Pad", [0, 1, 0, 0, 0, 0, 0, 0], mode="edge")),
    ("pads the batch", integer_inputs("Pad", [1, 0, 0, 0, 0, 0, 0, 0])),
    ("pads with -inf", padded_with_minus_infinity),
    ("indices have shape \\[0\\]", no_indices),
    ("steps are \\[-1\\]", integer_inputs("Slice", [5], [0], [2], [-1])),
    ("its mode is cubic", resized(2.0, mode="cubic")),
    ("makes 9 positions of 6", resized(1.5, mode="linear")),
    ("coordinate_transformation_mode is tf_crop", resized(2.0, coordinate_transformation_mode="tf_crop_and_resize")),
    ("isn't the Euclidean norm", op("LpNormalization", p=1, axis=1)),
    ("gathers from axis 1", after("Flatten", integer_inputs("Gather", [0, 3, 7], axis=1))),
    ("reorders rows or columns", integer_inputs("Gather", [2, 0], axis=2)),
    ("tiles an axis larger than 1", integer_inputs("Tile", [1, 2, 1, 1])),
    ("larger than what it makes", op("ConvTranspose", (4, 2, 3, 3), output_shape=[20, 20])),
    ("slices axis 1 of \\(N, CHW\\)", after("Flatten", integer_inputs("Slice", [0], [9], [1], [1]))),
)


@pytest.mark.parametrize(("reason", "build"), CASES, ids=[reason for reason, _ in CASES])
def test_a_node_that_does_not_map_is_left_to_the_host(reason: str, build: Build, tmp_path: Path) -> None:
    net = writer()
    build(net, net.input(*MAP))
    last = net.nodes[-1].output[0]
    output = net.node("GlobalMaxPool", [last], MAP)
    graph = helper.make_graph(
        net.nodes,
        "refused",
        [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, x.shape) for x in net.inputs],
        [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, None)],
        net.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)
    assert re.search(reason, why_on_host(model, tmp_path))


def softmaxes(net: OnnxWriter, x: Tensor) -> Tensor:
    """A network of which nothing is left for the accelerator."""
    for operator in ("Softmax", "Hardmax", "Softmax"):
        x = net.node(operator, [x.name], MAP)
    return x


def test_one_error_lists_every_node_and_groups_those_with_one_reason(tmp_path: Path) -> None:
    net = writer()
    model = net.finish("three", [softmaxes(net, net.input(*MAP))])
    with pytest.raises(ModelError) as refusal:
        read(model, tmp_path)
    fix = "at the network's end it costs one crossing and can stay; elsewhere use Sigmoid and retrain"
    assert refusal.value.what == (
        "nothing of the network is left for the accelerator: 3 nodes do not map onto it\n"
        "  Softmax: the accelerator has no such operator\n"
        f"    fix: {fix}\n"
        "    node_softmax0: [1,4,6,6] -> [1,4,6,6]\n"
        "    node_softmax2: [1,4,6,6] -> [1,4,6,6]\n"
        "  Hardmax: the accelerator has no such operator\n"
        f"    fix: {fix}\n"
        "    node_hardmax1: [1,4,6,6] -> [1,4,6,6]"
    )
    assert refusal.value.where == str(tmp_path / "network.onnx")


def test_a_custom_operator_is_named_with_its_domain(tmp_path: Path) -> None:
    model = relu_model()
    model.graph.node[0].domain = "my.operators"
    model.opset_import.append(helper.make_opsetid("my.operators", 1))
    with pytest.raises(ModelError, match=r"my\.operators\.Relu: nothing is known of it but its shapes"):
        read(model, tmp_path)


def test_old_spatial_batch_normalization_is_refused(tmp_path: Path) -> None:
    net = writer(opset=7)
    x = net.input(*MAP)
    y = op("BatchNormalization", *BATCH_NORM, spatial=0)(net, x)
    with pytest.raises(ModelError, match="spatial = 0"):
        read(net.finish("spatial", [y]), tmp_path)


def test_an_old_dropout_whose_mask_is_used_is_refused(tmp_path: Path) -> None:
    net = writer(opset=9)
    x = net.input(*MAP)
    kept = net.node("Dropout", [x.name], MAP)
    net.nodes[-1].output.append("mask")
    mask = net.node("Cast", ["mask"], MAP, to=TensorProto.FLOAT)
    with pytest.raises(ModelError, match="mask, is used"):
        read(net.finish("dropout", [net.node("Add", [kept.name, mask.name], MAP)]), tmp_path)


def test_a_bias_per_image_and_a_slice_of_the_batch_are_refused(tmp_path: Path) -> None:
    net = writer()
    x = net.input(2, 6)
    y = net.node("Gemm", [x.name, net.normal(6, 3), net.normal(2, 3)], (2, 3))
    z = net.with_integers("Slice", x, (1, 6), 10, {"starts": [0], "ends": [1], "axes": [0]})
    with pytest.raises(ModelError, match="differs between the images") as refusal:
        read(net.finish("batch", [y, net.node("Relu", [z.name], (2, 6))], batch=2), tmp_path)
    assert "takes a part of the batch" in str(refusal.value)


# -- models ------------------------------------------------------------------------------------------------------------


def test_weights_that_are_not_numbers_are_named(tmp_path: Path) -> None:
    net = writer()
    x = net.input(*MAP)
    weight = net.constant(np.full((4, 4, 1, 1), np.nan, np.float32))
    with pytest.raises(ModelError, match=f"the constant {weight} holds NaN or infinity"):
        read(net.finish("nan", [net.node("Conv", [x.name, weight], MAP)]), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no network"),
        (b"an essay", "not an ONNX model"),
        (relu_model().SerializeToString()[:-3], "not an ONNX"),
    ],
)
def test_a_file_that_is_not_a_whole_model_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_model(tmp_path / "broken.onnx")


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    net = writer()
    x = net.input(*MAP)
    statistics = [net.constant(np.full(4, value, np.float32)) for value in (1, 0, 0, -1)]
    y = net.node("BatchNormalization", [x.name, *statistics], MAP)
    with pytest.raises(ModelError, match=f"the constant {y.name}.scale holds NaN"):
        read(net.finish("variance", [y]), tmp_path)


def test_a_path_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        read_model(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)


def test_missing_external_data_is_refused(tmp_path: Path) -> None:
    net = writer()
    x = net.input(*MAP)
    model = net.finish("external", [net.node("Conv", [x.name, net.normal(4, 4, 1, 1)], MAP)])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(tmp_path / "m.onnx")


def with_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 6


def with_symbolic_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def with_rank_5(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 3
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 3


def without_a_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def without_inputs(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(MAP, np.float32), "input0"))
    del model.graph.input[:]


def with_a_constant_output(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "zeros"))
    model.graph.node.append(helper.make_node("Relu", ["zeros"], ["constant"]))
    model.graph.output.append(helper.make_tensor_value_info("constant", TensorProto.FLOAT, [3]))


def with_nothing_to_compute(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Identity"


def with_an_empty_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 0


def with_an_undefined_operand(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def with_an_undefined_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def with_an_undefined_operand_in_a_body(model: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Neg", ["nowhere"], ["z"])], "body", [], [onnx.ValueInfoProto(name="z")])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body))


def with_a_cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "round"
    model.graph.node.append(helper.make_node("Neg", [model.graph.node[0].output[0]], ["round"], name="turn"))


def of_the_future(model: onnx.ModelProto) -> None:
    model.ir_version = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_opset, "the model has opset 6"),
        (with_symbolic_height, "symbolic: axis 2 \\(height\\) of input0"),
        (with_rank_5, "its input input0 has shape \\[1, 4, 6, 6, 3\\]"),
        (without_a_shape, "the input input0 has no shape"),
        (without_inputs, "the model has no input"),
        (with_a_constant_output, "the output constant does not depend on an input"),
        (with_nothing_to_compute, "Identity: it only changes the layout"),
        (with_an_empty_input, "zero: axis 3 of input0"),
        (with_an_undefined_operand, r"node node_relu0 \(Relu\) reads the tensor nowhere, which nothing makes"),
        (with_an_undefined_operand_in_a_body, r"node z \(Neg\) reads the tensor nowhere, which nothing makes"),
        (with_an_undefined_output, "nothing makes the output nowhere"),
        (with_a_cycle, r"reads the tensor round, which only node turn \(Neg\) after it makes"),
        (of_the_future, "not valid ONNX"),
    ],
)
def test_a_model_that_makes_no_network_is_refused(
    change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    model = relu_model()
    change(model)
    with pytest.raises(ModelError, match=message):
        read(model, tmp_path)
