"""The imported graph computes what onnxruntime computes on the ONNX model."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bfpc.frontend.reader import read_model
from bfpc.ir.operators import Conv, Elementwise, Pad, Pool, Scale, Slice
from bfpc.ir.text import parse_graph, print_graph
from tests.networks.divided import assert_equivalent, random_inputs, read, run_onnx
from tests.networks.float_reference import run
from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.random_networks import random_network


@pytest.mark.parametrize("seed", range(120))
def test_random_networks_mean_the_same(seed: int, tmp_path: Path) -> None:
    model = random_network(seed)
    network = read(model, tmp_path)
    assert network.warnings == ()
    assert_equivalent(network)


@pytest.mark.parametrize("seed", range(0, 120, 7))
def test_imported_graphs_keep_onnx_names_and_round_trip_as_text(seed: int, tmp_path: Path) -> None:
    model = random_network(seed)
    graph = read(model, tmp_path).graph
    given = {name for node in model.graph.node for name in node.output}
    assert {node.name.split(".")[0] for node in graph.nodes} <= given  # `<output>.<role>` is an inner value
    assert parse_graph(print_graph(graph), graph.constants) == graph


@pytest.mark.parametrize(
    "name", ["resnet20_cifar10", "opennsfw_resnet50thin", "mobilenetv2_imagenet", "efficientnet_lite0_imagenet"]
)
def test_trained_networks_mean_the_same(name: str, zoo: Path) -> None:
    network = read_model(zoo / f"{name}.onnx")
    assert_equivalent(network)


def writer(opset: int = 17) -> OnnxWriter:
    return OnnxWriter(np.random.default_rng(0), opset)


def test_a_fixed_batch_is_read_as_one_image_and_runs_as_a_batch(tmp_path: Path) -> None:
    net = writer()
    x = net.input(4, 3, 5, 5)
    x = net.node("Conv", [x.name, net.normal(8, 3, 3, 3)], (4, 8, 3, 3))
    x = net.node("Reshape", [x.name, net.constant(np.array([4, 72]))], (4, 72))
    x = net.node("Gemm", [x.name, net.normal(72, 10)], (4, 10))
    model = net.finish("batch", [x], batch=4)
    network = read(model, tmp_path)
    assert network.graph.value(x.name).shape == (10, 1, 1)
    assert_equivalent(network)


def test_weights_after_a_channels_last_flatten_are_permuted(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 3, 4, 5)
    last = net.node("Transpose", [x.name], (1, 4, 5, 3), perm=[0, 2, 3, 1])
    flat = net.node("Flatten", [last.name], (1, 60))
    model = net.finish("flatten", [net.node("Gemm", [flat.name, net.normal(60, 7)], (1, 7))])
    network = read(model, tmp_path)
    assert [node.op for node in network.graph.nodes] == [Conv(kernel=(4, 5))]
    assert_equivalent(network)


def test_shape_computations_are_folded(tmp_path: Path) -> None:
    """As exporters write `x.view(x.shape[0], -1)` with a symbolic batch."""
    net = writer()
    x = net.input(1, 3, 4, 5)
    shape = net.node("Shape", [x.name], (4,))
    first = net.node("Gather", [shape.name, net.constant(np.array(0))], ())
    batch = net.node("Unsqueeze", [first.name, net.constant(np.array([0]))], (1,))
    target = net.node("Concat", [batch.name, net.constant(np.array([-1]))], (2,), axis=0)
    flat = net.node("Reshape", [x.name, target.name], (1, 60))
    model = net.finish("shapes", [net.node("Gemm", [flat.name, net.normal(60, 7)], (1, 7))], batch="batch")
    network = read(model, tmp_path)
    assert len(network.graph.nodes) == 1
    assert_equivalent(network)


def test_padding_computed_as_pytorch_exports_it_is_folded(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 3, 4, 5)
    zeros = net.node(
        "ConstantOfShape", [net.constant(np.array([4]))], (4,), value=numpy_helper.from_array(np.array([0]))
    )
    pads = net.node("Concat", [zeros.name, net.constant(np.array([0, 0, 1, 2]))], (8,), axis=0)
    model = net.finish("pads", [net.node("Pad", [x.name, pads.name], (1, 3, 5, 7))])
    network = read(model, tmp_path)
    assert [node.op for node in network.graph.nodes] == [Pad((0, 0, 1, 2))]
    assert_equivalent(network)


def test_half_precision_networks_are_widened(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 3, 4, 4)
    half = net.node("Cast", [x.name], x.shape, to=onnx.TensorProto.FLOAT16)
    weight = net.constant(np.random.default_rng(1).standard_normal((8, 3, 1, 1)).astype(np.float16))
    y = net.node("Conv", [half.name, weight], (1, 8, 4, 4))
    model = net.finish("half", [net.node("Cast", [y.name], y.shape, to=onnx.TensorProto.FLOAT)])
    network = read(model, tmp_path)
    assert network.graph.array(weight).dtype == np.float32
    (output,) = run(network.graph, random_inputs(model)).values()
    (expected,) = run_onnx(model.SerializeToString(), random_inputs(model)).values()
    np.testing.assert_allclose(output, expected, atol=1e-2)


def test_a_doubled_map_is_a_scale(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 3, 4, 4)
    model = net.finish("double", [net.node("Add", [x.name, x.name], x.shape)])
    network = read(model, tmp_path)
    assert [node.op for node in network.graph.nodes] == [Scale()]
    assert_equivalent(network)


def test_one_initializer_read_in_two_arrangements_becomes_two_constants(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 6)
    weight = net.normal(6, 6)
    y = net.node("Gemm", [x.name, weight], (1, 6))
    z = net.node("Gemm", [y.name, weight], (1, 6), transB=1)
    network = read(net.finish("shared", [z]), tmp_path)
    assert len(network.graph.constants) == 2
    assert_equivalent(network)


def test_channel_padded_shortcuts_become_slice_and_pad(tmp_path: Path) -> None:
    """The shortcut of the CIFAR ResNets: every other position, zeros in the new channels."""
    net = writer()
    x = net.input(1, 4, 6, 6)
    bounds = {"starts": [0, 0], "ends": [1000, 1000], "axes": [2, 3], "steps": [2, 2]}
    half = net.with_integers("Slice", x, (1, 4, 3, 3), 10, bounds)
    wide = net.with_integers("Pad", half, (1, 8, 3, 3), 11, {"pads": [0, 2, 0, 0, 0, 2, 0, 0]})
    branch = net.node("Conv", [x.name, net.normal(8, 4, 3, 3)], (1, 8, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    model = net.finish("shortcut", [net.node("Add", [branch.name, wide.name], (1, 8, 3, 3))])
    network = read(model, tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [Slice, Pad, Conv, Elementwise]
    assert_equivalent(network)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (5, 2, 2), (6, 3, 3)])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 1]])
def test_ceil_mode_is_exact(
    operator: str, size: int, kernel: int, stride: int, pads: list[int], tmp_path: Path
) -> None:
    net = writer()
    x = net.input(1, 2, size, size)
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1}
    model = net.finish("ceil", [net.node(operator, [x.name], (1, 2, 1, 1), **attributes)])
    for dim in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"
    network = read(model, tmp_path)
    assert [type(node.op) for node in network.graph.nodes] == [Pool]
    assert_equivalent(network)


def test_reducing_one_axis_only_is_a_pool_over_it(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 2, 5, 6)
    model = net.finish("rows", [net.node("ReduceMean", [x.name], (1, 2, 6), axes=[2], keepdims=0)])
    assert_equivalent(read(model, tmp_path))


def test_an_input_of_any_rank_keeps_its_layout(tmp_path: Path) -> None:
    net = writer()
    x = net.input(1, 6, 7)
    longer = net.with_integers("Unsqueeze", x, (1, 1, 6, 7), 13, {"axes": [1]})
    y: Tensor = net.node("Conv", [longer.name, net.normal(4, 1, 3, 3)], (1, 4, 4, 5))
    model = net.finish("grey", [y])
    network = read(model, tmp_path)
    assert network.graph.inputs[0].axes == ("N", "H", "W")
    assert_equivalent(network)
