"""Full-size networks with drawn weights, for size, speed and resources where no trained ones are free.

    python benchmarks/networks.py resnet50 -o resnet50.onnx

Weights are He-initialised from a fixed seed. Every BatchNormalization's mean and variance are measured on what reaches
it from two synthetic pictures, so that activations keep the scale of a trained network at any depth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
OPSET, IR_VERSION = 17, 8
BRANCH_DAMPING = 0.3  # of the last BatchNormalization of a residual branch


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor, and its content for the synthetic pictures."""

    name: str
    content: Floats


@dataclass
class Network:
    """An ONNX graph under construction, computed while it is drawn."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, inputs: list[str], name: str, content: Floats, **attributes: Any) -> Tensor:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return Tensor(name, content)

    def constant(self, name: str, array: NDArray[np.floating]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def conv(self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1) -> Tensor:
        inputs, pad = x.content.shape[1], kernel // 2
        deviation = np.sqrt(2 / (inputs * kernel * kernel))
        weight = (self.rng.standard_normal((outputs, inputs, kernel, kernel)) * deviation).astype(np.float32)
        windows = _windows(np.pad(x.content, ((0, 0), (0, 0), (pad, pad), (pad, pad))), kernel, stride)
        content = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("Conv", [x.name, self.constant(f"{name}.weight", weight)], name, content, **attributes)

    def batch_norm(self, x: Tensor, name: str, damping: float = 1.0) -> Tensor:
        """Normalises what the synthetic pictures give, to a scale and an offset drawn per channel."""
        channels = x.content.shape[1]
        parameters = {
            "gamma": damping * np.exp(0.3 * self.rng.standard_normal(channels)),
            "beta": damping * 0.3 * self.rng.standard_normal(channels),
            "mean": x.content.mean(axis=(0, 2, 3)),
            "variance": x.content.var(axis=(0, 2, 3)) + 1e-4,
        }
        coarse = {key: value.astype(np.float16) for key, value in parameters.items()}  # the same with any BLAS
        rounded = {key: value.astype(np.float32) for key, value in coarse.items()}
        inputs = [self.constant(f"{name}.{key}", value) for key, value in rounded.items()]
        gamma, beta, mean, variance = (value[:, None, None] for value in rounded.values())
        content = (x.content - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        return self.node("BatchNormalization", [x.name, *inputs], name, content, epsilon=1e-5)

    def relu(self, x: Tensor, name: str) -> Tensor:
        return self.node("Relu", [x.name], name, np.maximum(x.content, 0))

    def conv_bn(self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1, damping: float = 1.0) -> Tensor:
        return self.batch_norm(self.conv(x, f"{name}.conv", outputs, kernel, stride), f"{name}.bn", damping)

    def conv_bn_relu(self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1) -> Tensor:
        return self.relu(self.conv_bn(x, name, outputs, kernel, stride), f"{name}.relu")

    def max_pool(self, x: Tensor, name: str) -> Tensor:
        """3x3, stride 2, pads 1."""
        padded = np.pad(x.content, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        return self.node("MaxPool", [x.name], name, _windows(padded, 3, 2).max(axis=(-2, -1)), **attributes)

    def classifier(self, x: Tensor, classes: int) -> Tensor:
        """Global average pooling, flattening and Gemm."""
        features = x.content.mean(axis=(2, 3), keepdims=True)
        pooled = self.node("GlobalAveragePool", [x.name], "pool", features)
        flat = self.node("Flatten", [pooled.name], "flatten", features.reshape(len(features), -1))
        weight = (self.rng.standard_normal((classes, flat.content.shape[1])) * 0.05).astype(np.float32)
        bias = (self.rng.standard_normal(classes) * 0.05).astype(np.float32)
        inputs = [flat.name, self.constant("fc.weight", weight), self.constant("fc.bias", bias)]
        return self.node("Gemm", inputs, "logits", flat.content @ weight.T + bias, transB=1)

    def finish(self, name: str, x: Tensor, output: Tensor) -> onnx.ModelProto:
        """The model for one picture."""
        ports = [
            helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, [1, *tensor.content.shape[1:]])
            for tensor in (x, output)
        ]
        graph = helper.make_graph(self.nodes, name, ports[:1], ports[1:], self.initializers)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bfpc")


def resnet50() -> onnx.ModelProto:
    """ResNet-50 v1.5 (the stride in the 3x3 convolution): 1x3x224x224 to 1000 classes, 25.6 M parameters, 4.1 GMAC."""
    net = Network(np.random.default_rng(50))
    image = Tensor("image", synthetic_pictures(net.rng, 2, 224))
    x = net.max_pool(net.conv_bn_relu(image, "stem", 64, kernel=7, stride=2), "stem.pool")
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            x = _bottleneck(net, x, f"stage{stage}.block{block}", width, stride=2 if block == 0 and stage > 1 else 1)
    return net.finish("resnet50", image, net.classifier(x, 1000))


def _bottleneck(net: Network, x: Tensor, name: str, width: int, stride: int) -> Tensor:
    """1x1 to `width` channels, 3x3, 1x1 to 4 * `width`; the shortcut is projected where the shape changes."""
    branch = net.conv_bn_relu(x, f"{name}.reduce", width, kernel=1)
    branch = net.conv_bn_relu(branch, f"{name}.middle", width, kernel=3, stride=stride)
    branch = net.conv_bn(branch, f"{name}.expand", 4 * width, kernel=1, damping=BRANCH_DAMPING)
    if x.content.shape != branch.content.shape:
        x = net.conv_bn(x, f"{name}.shortcut", 4 * width, kernel=1, stride=stride)
    total = net.node("Add", [branch.name, x.name], f"{name}.add", branch.content + x.content)
    return net.relu(total, f"{name}.relu")


def synthetic_pictures(rng: np.random.Generator, count: int, size: int) -> Floats:
    """[count, 3, size, size] with the falling spectrum of photographs, of mean 0 and variance 1; `size` is 7 * 2**k."""
    pictures: Floats = np.zeros((count, 3, size, size), np.float32)
    grid = 7
    while grid <= size:
        noise = rng.standard_normal((count, 3, grid, grid), np.float32) * 7 / grid
        pictures += np.kron(noise, np.ones((size // grid, size // grid), np.float32))
        grid *= 2
    pictures -= pictures.mean()
    pictures /= pictures.std()
    return pictures


def _windows(maps: Floats, kernel: int, stride: int) -> Floats:
    """[batch, channels, height, width, kernel, kernel] views of padded maps."""
    views = np.lib.stride_tricks.sliding_window_view(maps, (kernel, kernel), axis=(2, 3))
    return views[:, :, ::stride, ::stride]


NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {"resnet50": resnet50}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a full-size network with drawn weights.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("-o", "--output", required=True, help="the .onnx file to write")
    arguments = parser.parse_args()
    onnx.save(NETWORKS[arguments.network](), arguments.output)


if __name__ == "__main__":
    main()
