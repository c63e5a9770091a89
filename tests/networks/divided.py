"""Runs a network that is divided between accelerator and host, in float: segments by onnxruntime, stages in NumPy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from bfpc.frontend.reader import Network, read_model
from tests.networks.float_reference import run

Tensors = dict[str, NDArray[Any]]


def read(model: onnx.ModelProto, folder: Path) -> Network:
    onnx.save(model, folder / "network.onnx")
    return read_model(folder / "network.onnx")


def random_inputs(model: onnx.ModelProto, seed: int = 1) -> Tensors:
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    return {value.name: _random(value, rng) for value in model.graph.input if value.name not in constants}


def _random(value: onnx.ValueInfoProto, rng: np.random.Generator) -> NDArray[Any]:
    shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    drawn: NDArray[Any] = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 8, shape)
    return drawn.astype(dtype)


def run_onnx(model: bytes, tensors: Tensors) -> Tensors:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options)
    feeds = {value.name: tensors[value.name] for value in session.get_inputs()}
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def run_divided(network: Network, inputs: Tensors) -> Tensors:
    """All tensors that cross between the devices, and the outputs: segments and stages in turn."""
    tensors, stages = dict(inputs), network.graph.stages
    for stage in range(max([*stages.values(), *(segment.stage for segment in network.host)]) + 1):
        for segment in network.host:
            if segment.stage == stage:
                tensors |= run_onnx(segment.model, tensors)
        ports = (
            [port for port in network.graph.inputs if port.stage <= stage],
            [port for port in network.graph.outputs if stages[port.value] <= stage],
        )
        part = replace(network.graph, inputs=tuple(ports[0]), outputs=tuple(ports[1])).pruned()
        tensors |= {name: tensor.astype(np.float32) for name, tensor in run(part, tensors).items()}
    return tensors


def assert_equivalent(network: Network, model: onnx.ModelProto | None = None, tolerance: float = 1e-4) -> None:
    """Stages and segments in turn give what onnxruntime makes of `model`, which is the network's own if not given."""
    inputs = random_inputs(network.model)
    found = run_divided(network, inputs)
    for name, expected in run_onnx((model or network.model).SerializeToString(), inputs).items():
        assert found[name].shape == expected.shape
        if expected.dtype.kind == "f":
            atol = tolerance * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
