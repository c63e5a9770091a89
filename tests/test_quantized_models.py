"""Models of onnxruntime's quantizer, which removes activations that a range replaces, against onnxruntime itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

import bfpc
from bfpc.comparison import sqnr_db
from bfpc.config import load_config
from bfpc.frontend.reader import read_model
from bfpc.pipeline import Dump, compile_model, float_passes, run_passes
from tests.networks import float_reference
from tests.networks.onnx_writer import OnnxWriter, Tensor

SHAPE = (16, 16)
Arrays = NDArray[np.float32]


def network() -> onnx.ModelProto:
    """Relu, Clip(0, 2), pools, a residual sum, a function of one number, and what has no activation."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    first = net.node("Relu", [_conv(net, net.input(1, 3, *SHAPE), 16).name], (1, 16, *SHAPE))
    pooled = net.node("MaxPool", [first.name], (1, 16, 8, 8), kernel_shape=[2, 2], strides=[2, 2])
    bounds = [net.constant(np.array(bound, np.float32)) for bound in (0, 2)]
    second = net.node("Clip", [_conv(net, pooled, 16).name, *bounds], pooled.shape)
    total = net.node("Add", [_conv(net, second, 16).name, pooled.name], pooled.shape)
    third = net.node("Relu", [total.name], pooled.shape)
    gate = net.node("Sigmoid", [_conv(net, third, 16).name], pooled.shape)
    joined = net.node("Concat", [third.name, gate.name], (1, 32, 8, 8), axis=1)
    mean = net.node("GlobalAveragePool", [joined.name], (1, 32, 1, 1))
    flat = net.node("Flatten", [mean.name], (1, 32))
    return net.finish("quantized", [net.node("Gemm", [flat.name, net.normal(32, 10), net.normal(10)], (1, 10))])


def _conv(net: OnnxWriter, x: Tensor, channels: int) -> Tensor:
    weight, bias = net.normal(channels, x.shape[1], 3, 3, scale=0.15), net.normal(channels, scale=0.3)
    return net.node("Conv", [x.name, weight, bias], (1, channels, *x.shape[2:]), pads=[1] * 4)


def pictures(count: int) -> Arrays:
    return np.random.default_rng(1).standard_normal((count, 3, *SHAPE)).astype(np.float32)


def quantized(folder: Path, activations: str, per_channel: bool, **options: Any) -> Path:
    """The network after onnxruntime's quantizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnxruntime.quantization as quantization

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self._images: Iterator[Arrays] = iter(pictures(8)[:, np.newaxis])

            def get_next(self) -> dict[str, Arrays] | None:
                image = next(self._images, None)
                return None if image is None else {"input0": image}

        onnx.save(network(), folder / "float.onnx")
        quantization.quantize_static(
            folder / "float.onnx",
            folder / "quantized.onnx",
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=quantization.QuantType.from_string(activations),
            weight_type=quantization.QuantType.QInt8,
            extra_options=options,
        )
    return folder / "quantized.onnx"


def run_onnx(path: Path, images: Arrays) -> Arrays:
    """What the model with its pairs gives in onnxruntime, one image after the other."""
    session = ort.InferenceSession(path)
    return np.concatenate([session.run(None, {"input0": image})[0] for image in images[:, np.newaxis]])


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activations", ["QUInt8", "QInt8", "QInt16"])
def test_activations_that_the_quantizer_removed_are_there_again(
    activations: str, per_channel: bool, tmp_path: Path
) -> None:
    """Both the network in float and its build at int8 give what the quantized model gives."""
    path, images = quantized(tmp_path, activations, per_channel), pictures(4)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "Relu" not in operators
    assert "Clip" not in operators
    expected = run_onnx(path, images)
    np.save(tmp_path / "pictures.npy", pictures(8))
    compile_model(path, load_config("int8"), tmp_path / "build", tmp_path / "pictures.npy")
    [found] = bfpc.load(tmp_path / "build").run({"input0": images})
    graph = read_model(path).graph
    [port] = graph.outputs
    parts = [float_reference.run(graph, {"input0": image})[port.name] for image in images[:, np.newaxis]]
    assert sqnr(np.concatenate(parts), expected) > 25
    assert sqnr(found, expected) > 25


def sqnr(found: NDArray[np.floating], expected: Arrays) -> float:
    return sqnr_db(float(np.square(expected).sum()), float(np.square(found - expected).sum()))


@pytest.mark.parametrize("pairs", [{}, {"DedicatedQDQPair": True}])
def test_clips_in_place_of_pairs_make_no_layers(pairs: dict[str, bool], tmp_path: Path) -> None:
    """But for the mean's, whose range is narrower than that of what it averages."""
    path = quantized(tmp_path, "QUInt8", per_channel=False, **pairs)
    layers = [
        list(run_passes(read_model(model).graph, float_passes(load_config("int8")), Dump(None)).layers)
        for model in (tmp_path / "float.onnx", path)
    ]
    assert len(layers[1]) <= len(layers[0]) + 1
