"""Writes large ONNX graphs whose weights are drawn so that activations keep their scale at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bfpc.ir.operators import window_output_size

Floats = NDArray[np.float32]
OPSET, IR_VERSION = 17, 8
RELU_GAIN = 2.0  # He: a Relu keeps half of the power


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor, and its shape for one picture."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Network:
    """An ONNX graph under construction."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, inputs: Sequence[str], name: str, shape: Iterable[int], **attributes: Any) -> Tensor:
        """A node with one output, which has its name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return Tensor(name, tuple(shape))

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        """A constant of normally distributed numbers around 0."""
        return self.constant(name, (self.rng.standard_normal(shape) * deviation).astype(np.float32))

    def conv(
        self,
        x: Tensor,
        name: str,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        dilation: int = 1,
        gain: float = RELU_GAIN,
        bias: float = 0.0,
    ) -> Tensor:
        """A square convolution that multiplies the power of its map by `gain`, with pads that keep the size by default.

        bias: the deviation of the biases; there are none where it is 0.
        """
        pads = [(kernel - 1) * dilation // 2 if pad is None else pad] * 4
        shape = (outputs, x.shape[1], kernel, kernel)
        inputs = [x.name, self.normal(f"{name}.weight", shape, (gain / (x.shape[1] * kernel**2)) ** 0.5)]
        if bias:
            inputs.append(self.normal(f"{name}.bias", (outputs,), bias))
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "dilations": [dilation] * 2}
        window = (kernel, kernel), (stride, stride), (pads[0], pads[1], pads[2], pads[3]), (dilation, dilation)
        return self.node("Conv", inputs, name, (1, outputs, *_size(x, *window)), **attributes)

    def relu(self, x: Tensor, name: str) -> Tensor:
        return self.node("Relu", [x.name], name, x.shape)

    def max_pool(self, x: Tensor, name: str, kernel: int, stride: int, pad: int = 0, ceil_mode: bool = False) -> Tensor:
        beyond = stride - 1 if ceil_mode else 0
        size = _size(x, (kernel, kernel), (stride, stride), (pad, pad, pad + beyond, pad + beyond))
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("MaxPool", [x.name], name, (*x.shape[:2], *size), ceil_mode=int(ceil_mode), **attributes)

    def concat(self, parts: Sequence[Tensor], name: str, axis: int = 1) -> Tensor:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.node("Concat", [part.name for part in parts], name, shape, axis=axis)

    def finish(self, name: str, image: Tensor, outputs: Sequence[Tensor]) -> onnx.ModelProto:
        """The model for one picture."""
        ports = [helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape) for port in (image, *outputs)]
        graph = helper.make_graph(self.nodes, name, ports[:1], ports[1:], self.initializers)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bfpc")


def _size(
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    return window_output_size((x.shape[2], x.shape[3]), kernel, stride, pads, dilation)
