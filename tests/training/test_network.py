"""A network as a torch module computes what the accelerator does, and its weights come back into the model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bfpc.config import Config, load_config
from bfpc.config_sections import Passes
from bfpc.data import InputData
from bfpc.emulator.session import Emulator, folded_inputs, real_values, stored_inputs
from bfpc.errors import TrainingError
from bfpc.frontend.reader import Network
from bfpc.ir.graph import Graph
from bfpc.ir.layout import to_onnx
from bfpc.passes.calibrate import calibrate
from bfpc.pipeline import (
    Dump,
    Prepared,
    float_passes,
    prepare,
    prepare_network,
    quantize_network,
    run_passes,
)
from bfpc.training.constants import LayerConstants
from bfpc.training.network import TrainableNetwork, make_trainable
from bfpc.training.original import Original
from bfpc.training.parameters import constants_of
from tests.networks.random_networks import random_network
from tests.passes.checks import random_inputs
from tests.passes.random_graphs import random_graph

Arrays = dict[str, NDArray[np.float32]]
PLAIN = {"passes": dict.fromkeys(Passes.model_fields, False), "calibration": {"images": 2}}


def config(preset: str = "int54", **sections: object) -> Config:
    return Config.model_validate({**load_config(preset).model_dump(), **PLAIN, **sections})


def prepared(model: onnx.ModelProto, folder: Path, chosen: Config) -> Prepared:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return prepare_network(path, chosen, None)


def with_constants(network: Prepared, module: TrainableNetwork) -> Prepared:
    """The network with the weights and biases that the module has at the moment."""
    graph, constants, nodes = network.graph, dict(network.graph.constants), []
    moment = {key: tensor.detach().numpy() for key, tensor in module.constants().items()}
    for node in graph.nodes:
        inputs = dict(node.inputs)
        for role in ("weight", "bias"):
            if (node.name, role) in moment:
                inputs[role] = f"{node.name}.{role} of the moment"
                constants[inputs[role]] = moment[node.name, role]
        nodes.append(replace(node, inputs=inputs))
    return replace(network, graph=graph.with_nodes(nodes, constants))


def computed(module: TrainableNetwork, inputs: Arrays) -> Arrays:
    with torch.no_grad():
        outputs = module({name: torch.tensor(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def emulated(graph: Graph, inputs: Arrays) -> Arrays:
    """The outputs of the graph by the emulator, in ONNX layout."""
    quantized = graph.values[0].format is not None
    maps = real_values(stored_inputs(graph, inputs)) if quantized else folded_inputs(graph, inputs)
    found = Emulator(graph, sorted(graph.output_names)).run(maps)
    return {port.name: np.asarray(to_onnx(found[port.value], port.axes), np.float32) for port in graph.outputs}


def disturb(module: TrainableNetwork) -> None:
    """As training might: other weights, some larger than before."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.mul_(1.5).add_(torch.randn(tensor.shape, generator=generator) * 0.1 * tensor.abs().mean())


def assert_emulated(network: Prepared, module: TrainableNetwork, chosen: Config) -> None:
    """That the module computes the bits of the emulator, and without quantizing what the float layers do."""
    inputs = {name: np.asarray(array[:2], np.float32) for name, array in network.data.arrays.items()}
    moment = with_constants(network, module)
    expected = emulated(quantize_network(moment, chosen), inputs)
    found = computed(module, inputs)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    module.quantizing = False
    for name, tensor in emulated(moment.graph, inputs).items():
        scale = max(1e-3, float(np.abs(tensor).max()))
        np.testing.assert_allclose(computed(module, inputs)[name], tensor, rtol=1e-3, atol=1e-4 * scale, err_msg=name)
    module.quantizing = True


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_compute_the_bits_of_the_emulator(seed: int, tmp_path: Path) -> None:
    chosen = config(("int54", "int8", "int4")[seed % 3], training={"batch_norm": ("folded", "kept")[seed % 2]})
    network = prepared(random_network(seed), tmp_path, chosen)
    module = make_trainable(network, chosen, torch.float64)
    for key, constant in constants_of(network.graph).items():
        made = module.constants()[key].detach().numpy()
        np.testing.assert_allclose(made, constant, rtol=1e-5, atol=1e-6, err_msg=str(key))
    assert_emulated(network, module, chosen)
    disturb(module)
    assert_emulated(network, module, chosen)


@pytest.mark.parametrize("seed", range(12))
def test_random_layers_compute_the_bits_of_the_emulator(seed: int) -> None:
    """Operators, pads, dilations and tails that no ONNX network need have."""
    chosen = config(("int54", "int8", "int4")[seed % 3])
    graph = run_passes(random_graph(seed), float_passes(chosen), Dump(None))
    inputs = {name: array.astype(np.float32) for name, array in random_inputs(graph).items()}
    statistics = calibrate(graph, [folded_inputs(graph, inputs)], prepare)
    quantized = quantize_network(Prepared(cast(Network, None), graph, InputData(inputs), statistics), chosen)
    constants = LayerConstants({}, {}, constants_of(graph))
    module = TrainableNetwork(graph, quantized, constants, Original(onnx.ModelProto(), kept=False), torch.float64)
    expected = emulated(quantized, inputs)
    for name, tensor in computed(module, inputs).items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def normalized_network(seed: int) -> onnx.ModelProto:
    """Normalizations after a Conv, a Conv with a bias, a grouped ConvTranspose and a Gemm, and one after a Relu."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def add(operator: str, x: str, *shapes: tuple[int, ...], **attributes: Any) -> str:
        names = [f"{operator.lower()}{len(nodes)}.{index}" for index in range(len(shapes))]
        for name, shape in zip(names, shapes, strict=True):
            array = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
            tensors.append(numpy_helper.from_array(array.astype(np.float32), name))
        nodes.append(helper.make_node(operator, [x, *names], [f"y{len(nodes)}"], **attributes))
        return f"y{len(nodes) - 1}"

    def normalize(x: str, channels: int) -> str:
        name = add("BatchNormalization", x, *[(channels,)] * 4, epsilon=1e-3)
        tensors[-1].CopyFrom(
            numpy_helper.from_array(rng.uniform(0.5, 2, channels).astype(np.float32), tensors[-1].name)
        )
        return name

    x = normalize(add("Conv", "x", (12, 3, 3, 3), pads=[1, 1, 1, 1]), 12)
    x = normalize(add("Relu", x), 12)
    x = normalize(add("Conv", x, (8, 12, 1, 1), (8,)), 8)
    x = normalize(add("ConvTranspose", x, (8, 3, 2, 2), (6,), strides=[2, 2], group=2), 6)
    x = add("Flatten", add("GlobalAveragePool", add("Relu", x)))
    x = normalize(add("Gemm", x, (6, 10), (10,), beta=0.5, alpha=2.0), 10)
    graph = helper.make_graph(
        nodes,
        "normalized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="licence", value="of the network")
    return model


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
@pytest.mark.parametrize("trained", [False, True])
def test_what_is_written_compiles_to_the_same_weights(batch_norm: str, trained: bool, tmp_path: Path) -> None:
    chosen = config(training={"batch_norm": batch_norm})
    original = normalized_network(3)
    network = prepared(original, tmp_path, chosen)
    module = make_trainable(network, chosen, torch.float64)
    if trained:
        disturb(module)
    assert_emulated(network, module, chosen)
    written = tmp_path / "tuned.onnx"
    module.write(written)
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    assert (model.graph.input, model.graph.output) == (original.graph.input, original.graph.output)
    assert model.metadata_props == original.metadata_props
    normalizations = [node.op_type for node in model.graph.node].count("BatchNormalization")
    assert normalizations == (5 if batch_norm == "kept" else 1)  # that after the Relu has no layer to go into

    again = prepare_network(written, chosen, None)
    compiled = quantize_network(again, chosen)
    expected = {key: tensor.detach().numpy() for key, tensor in module.quantized_constants().items()}
    for node in compiled.layers:
        if (weight := compiled.weight(node)) is not None:
            np.testing.assert_array_equal(weight.real, expected[node.name, "weight"], err_msg=node.name)
        if not trained and "bias" in node.inputs and node.arithmetic is not None:  # trained, the windows are others
            lsb = 2.0**node.arithmetic.accumulator_exponent
            bias = compiled.array(node.inputs["bias"]) * lsb
            np.testing.assert_allclose(bias, expected[node.name, "bias"], rtol=2**-23, atol=lsb, err_msg=node.name)
        if (node.name, "weight") in module.constants.sources:  # what is trained is on the grid already
            real = constants_of(again.graph)[node.name, "weight"]
            np.testing.assert_allclose(real, expected[node.name, "weight"], rtol=1e-6, err_msg=node.name)
    inputs = {"x": np.asarray(network.data.arrays["x"][:2], np.float32)}
    (found,) = ort.InferenceSession(written, providers=["CPUExecutionProvider"]).run(None, inputs)
    (wanted,) = emulated(again.graph, inputs).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_resnet20_computes_the_bits_of_the_emulator(zoo: Path, tmp_path: Path) -> None:
    chosen = config()
    network = prepare_network(zoo / "resnet20_cifar10.onnx", chosen, None)
    module = make_trainable(network, chosen, torch.float64)
    assert_emulated(network, module, chosen)
    disturb(module)
    assert_emulated(network, module, chosen)


def test_gradients_reach_every_trained_tensor(tmp_path: Path) -> None:
    chosen = config(training={"batch_norm": "kept"})
    module = make_trainable(prepared(normalized_network(4), tmp_path, chosen), chosen)
    (output,) = module({"x": torch.randn(4, 3, 8, 8)}).values()
    output.square().mean().backward()
    names = dict(zip(module.constants.names, module.constants.tensors, strict=True))
    assert len(names) == 4 + 3 + 4 * 2  # weights, biases, and gamma and beta of the normalizations after layers
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in names.values())


def test_the_gradient_is_that_of_the_float_network_where_formats_are_wide(tmp_path: Path) -> None:
    chosen = config("int12")
    module = make_trainable(prepared(normalized_network(5), tmp_path, chosen), chosen, torch.float64)
    x = torch.tensor(np.random.default_rng(0).standard_normal((4, 3, 8, 8)), dtype=torch.float32)
    found = []
    for module.quantizing in (True, False):
        module.zero_grad()
        (output,) = module({"x": x}).values()
        output.square().mean().backward()
        found.append(torch.cat([tensor.grad.flatten() for tensor in module.parameters() if tensor.grad is not None]))
    assert torch.nn.functional.cosine_similarity(found[0], found[1], dim=0) > 0.999


def test_weights_that_the_compiler_adds_up_cannot_be_trained(tmp_path: Path) -> None:
    """A channel that a Gather repeats meets the sum of two weights."""
    weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "i"], ["g"], axis=1), helper.make_node("Conv", ["g", "w"], ["y"])],
        "repeated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.array([0, 1, 1, 2]), "i"), numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(TrainingError, match="mixes several weights of the model\n  where: layer y"):
        make_trainable(prepared(model, tmp_path, config()), config())
