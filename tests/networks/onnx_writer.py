"""Writes small ONNX networks of any opset from 7 on, with weights drawn from a seed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 8  # every onnxruntime in use reads it


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass
class OnnxWriter:
    """Collects nodes and initializers; `finish` makes the model."""

    rng: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)

    def input(self, *shape: int) -> Tensor:
        self.inputs.append(Tensor(f"input{len(self.inputs)}", shape))
        return self.inputs[-1]

    def node(self, operator: str, operands: list[str], shape: tuple[int, ...], **attributes: Any) -> Tensor:
        """Adds a node with one output of `shape`."""
        return self.parts(operator, operands, [shape], **attributes)[0]

    def parts(
        self, operator: str, operands: list[str], shapes: list[tuple[int, ...]], **attributes: Any
    ) -> list[Tensor]:
        """Adds a node with an output of each shape."""
        name = f"{operator.lower()}{len(self.nodes)}"
        names = [name] if len(shapes) == 1 else [f"{name}_{index}" for index in range(len(shapes))]
        self.nodes.append(helper.make_node(operator, operands, names, name=f"node_{name}", **attributes))
        return [Tensor(*output) for output in zip(names, shapes, strict=True)]

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A Reshape to `shape` that leaves the batch as it is."""
        return self.node("Reshape", [x.name, self.constant(np.array([0, *shape[1:]], np.int64))], shape)

    def resize(self, x: Tensor, factors: list[int], mode: str, coordinates: str, **attributes: Any) -> Tensor:
        """A larger map, by Upsample or Resize as the opset has it; older ones know one rule for coordinates."""
        shape = (*x.shape[:2], x.shape[2] * factors[0], x.shape[3] * factors[1])
        scales = [1.0, 1.0, *map(float, factors)]
        if self.opset < 9:
            return self.node("Upsample", [x.name], shape, mode=mode, scales=scales)
        operands = [x.name, self.constant(np.array(scales, np.float32))]
        if self.opset < 11:
            return self.node("Upsample" if self.opset < 10 else "Resize", operands, shape, mode=mode)
        operands.insert(1, self.constant(np.zeros(0, np.float32)))  # the region of interest
        rule = {"mode": mode, "coordinate_transformation_mode": coordinates}
        return self.node("Resize", operands, shape, **rule, **attributes)

    def constant(self, array: NDArray[Any]) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        """A constant of normally distributed numbers."""
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> str:
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def with_integers(
        self,
        operator: str,
        x: Tensor,
        shape: tuple[int, ...],
        since: int,
        arguments: dict[str, list[int]],
        **attributes: Any,
    ) -> Tensor:
        """A node whose integer arguments are attributes in opsets before `since`, and inputs from then on."""
        if self.opset < since:
            return self.node(operator, [x.name], shape, **arguments, **attributes)
        inputs = [self.constant(np.array(values, np.int64)) for values in arguments.values()]
        return self.node(operator, [x.name, *inputs], shape, **attributes)

    def finish(self, name: str, outputs: list[Tensor], batch: str | int = 1) -> onnx.ModelProto:
        """The checked model; `batch` is the first axis of its inputs and outputs."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [_declare(tensor, batch) for tensor in self.inputs],
            [_declare(tensor, batch) for tensor in outputs],
            self.initializers,
        )
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


def _declare(tensor: Tensor, batch: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, [batch, *tensor.shape[1:]])
