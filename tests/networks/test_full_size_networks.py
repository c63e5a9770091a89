"""The full-size networks of the benchmarks are those of the publications, and their activations keep their scale."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchmarks.networks import NETWORKS
from benchmarks.networks.pictures import synthetic_pictures
from benchmarks.networks.unet import unet

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(model: onnx.ModelProto) -> Shapes:
    """Every tensor's shape, the constants' included."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    inferred = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return inferred | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def parameters(model: onnx.ModelProto) -> int:
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer)


def macs(model: onnx.ModelProto) -> int:
    """Multiplications by a weight of (transposed) convolutions and Gemm: weights times the positions they meet."""
    shapes, total = shapes_of(model), 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
            met = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
            total += math.prod(shapes[node.input[1]]) * math.prod(shapes[met][2:])
    return total


@pytest.mark.parametrize(
    ("name", "millions_of_parameters", "giga_macs"),
    [("resnet50", 25.61, 4.09), ("ssd300", 26.29, 31.4), ("unet", 31.03, 192.7)],
)
def test_sizes_are_the_published_ones(name: str, millions_of_parameters: float, giga_macs: float) -> None:
    model = NETWORKS[name]()
    onnx.checker.check_model(model, full_check=True)
    assert parameters(model) / 1e6 == pytest.approx(millions_of_parameters, rel=1e-3)
    assert macs(model) / 1e9 == pytest.approx(giga_macs, rel=3e-3)


def test_resnet50_has_the_published_layers() -> None:
    counts = Counter(node.op_type for node in NETWORKS["resnet50"]().graph.node)
    assert (counts["Conv"], counts["BatchNormalization"], counts["Add"]) == (53, 53, 16)


def test_ssd300_has_8732_boxes() -> None:
    shapes = shapes_of(NETWORKS["ssd300"]())
    assert (shapes["locations"], shapes["logits"]) == ((1, 8732, 4), (1, 8732, 21))


def test_unet_keeps_the_size_of_its_picture() -> None:
    shapes = shapes_of(NETWORKS["unet"]())
    assert (shapes["image"], shapes["classes"]) == ((1, 1, 512, 512), (1, 2, 512, 512))


@pytest.mark.parametrize(
    "draw", [NETWORKS["resnet50"], NETWORKS["ssd300"], lambda: unet(size=128)], ids=["resnet50", "ssd300", "unet"]
)
def test_activations_keep_the_scale_of_a_trained_network(draw: Callable[[], onnx.ModelProto]) -> None:
    model = draw()
    layers = [node.output[0] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
    outputs = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in layers if name not in outputs)
    (image,) = model.graph.input
    _, channels, size, _ = (axis.dim_value for axis in image.type.tensor_type.shape.dim)
    picture = synthetic_pictures(np.random.default_rng(0), 1, size, channels)
    found = ort.InferenceSession(model.SerializeToString()).run(layers, {"image": picture})
    assert all(0.3 < float(np.sqrt(np.mean(content**2))) < 3 for content in found)


def test_a_network_is_drawn_the_same_each_time() -> None:
    assert unet(size=16) == unet(size=16)
