"""ResNet-50. Every BatchNormalization's mean and variance are measured on what reaches it from synthetic pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks.drawing import IR_VERSION, OPSET, Floats, Network, Tensor
from benchmarks.networks.pictures import synthetic_pictures

BRANCH_DAMPING = 0.3  # of the last BatchNormalization of a residual branch
MEASURED_PICTURES = 2


@dataclass
class Measured(Network):
    """A network that is computed while it is drawn."""

    contents: dict[str, Floats] = field(default_factory=dict)

    def node(self, operator: str, inputs: Sequence[str], name: str, shape: Iterable[int], **attributes: Any) -> Tensor:
        x = super().node(operator, inputs, name, shape, **attributes)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.initializers[-len(inputs) :]}
        known = self.contents | constants
        self.contents[name] = _compute(self.nodes[-1], {operand: known[operand] for operand in inputs})
        return x

    def batch_norm(self, x: Tensor, name: str, damping: float = 1.0) -> Tensor:
        """Normalises what the synthetic pictures give, to a scale and an offset drawn per channel."""
        channels, content = x.shape[1], self.contents[x.name]
        parameters = {
            "gamma": damping * np.exp(0.3 * self.rng.standard_normal(channels)),
            "beta": damping * 0.3 * self.rng.standard_normal(channels),
            "mean": content.mean(axis=(0, 2, 3)),
            "variance": content.var(axis=(0, 2, 3)) + 1e-4,
        }
        coarse = {key: value.astype(np.float16) for key, value in parameters.items()}  # the same on any processor
        inputs = [self.constant(f"{name}.{key}", value.astype(np.float32)) for key, value in coarse.items()]
        return self.node("BatchNormalization", [x.name, *inputs], name, x.shape, epsilon=1e-5)

    def conv_bn(self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1, damping: float = 1.0) -> Tensor:
        return self.batch_norm(self.conv(x, f"{name}.conv", outputs, kernel, stride=stride), f"{name}.bn", damping)

    def conv_bn_relu(self, x: Tensor, name: str, outputs: int, kernel: int, stride: int = 1) -> Tensor:
        return self.relu(self.conv_bn(x, name, outputs, kernel, stride), f"{name}.relu")

    def classifier(self, x: Tensor, classes: int) -> Tensor:
        """Global average pooling, flattening and Gemm."""
        features = x.shape[1]
        pooled = self.node("GlobalAveragePool", [x.name], "pool", (1, features, 1, 1))
        flat = self.node("Flatten", [pooled.name], "flatten", (1, features))
        weight = self.normal("fc.weight", (classes, features), 0.05)
        bias = self.normal("fc.bias", (classes,), 0.05)
        return self.node("Gemm", [flat.name, weight, bias], "logits", (1, classes), transB=1)


def resnet50() -> onnx.ModelProto:
    """ResNet-50 v1.5 (the stride in the 3x3 convolution): 1x3x224x224 to 1000 classes, 25.6 M parameters, 4.1 GMAC."""
    net, image = Measured(np.random.default_rng(50)), Tensor("image", (1, 3, 224, 224))
    net.contents[image.name] = synthetic_pictures(net.rng, MEASURED_PICTURES, 224)
    x = net.max_pool(net.conv_bn_relu(image, "stem", 64, kernel=7, stride=2), "stem.pool", kernel=3, stride=2, pad=1)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            x = _bottleneck(net, x, f"stage{stage}.block{block}", width, stride=2 if block == 0 and stage > 1 else 1)
    return net.finish("resnet50", image, [net.classifier(x, 1000)])


def _bottleneck(net: Measured, x: Tensor, name: str, width: int, stride: int) -> Tensor:
    """1x1 to `width` channels, 3x3, 1x1 to 4 * `width`; the shortcut is projected where the shape changes."""
    branch = net.conv_bn_relu(x, f"{name}.reduce", width, kernel=1)
    branch = net.conv_bn_relu(branch, f"{name}.middle", width, kernel=3, stride=stride)
    branch = net.conv_bn(branch, f"{name}.expand", 4 * width, kernel=1, damping=BRANCH_DAMPING)
    if x.shape != branch.shape:
        x = net.conv_bn(x, f"{name}.shortcut", 4 * width, kernel=1, stride=stride)
    total = net.node("Add", [branch.name, x.name], f"{name}.add", branch.shape)
    return net.relu(total, f"{name}.relu")


def _compute(node: onnx.NodeProto, operands: dict[str, Floats]) -> Floats:
    """What one node makes of its operands."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in operands.items()]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], node.name, inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Floats = session.run(None, operands)[0]
    return result
