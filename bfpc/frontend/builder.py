"""The graph as far as it has been imported, and what importers read their node's operands with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.errors import ModelError
from bfpc.frontend.tensor import CHANNELS_FIRST, Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Node, Value
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Operator
from bfpc.ir.shapes import output_shape

Importer = Callable[[onnx_ir.Node, "GraphBuilder"], Tensor]


@dataclass
class GraphBuilder:
    """Collects nodes and constants.

    names: of all tensors of the ONNX graph. batch: its batch size. tensors: the feature maps imported so far.
    """

    names: frozenset[str]
    batch: int
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def feature(self, node: onnx_ir.Node, index: int = 0) -> Tensor:
        """The feature map that is the node's input `index`; raises Unsupported if that is a constant."""
        name = input_name(node, index)
        if name not in self.tensors:
            raise Unsupported(f"its input {index} is a constant, not a feature map", "make the feature map that input")
        return self.tensors[name]

    def emit(self, node: onnx_ir.Node, op: Operator, inputs: dict[str, str], axes: Axes = CHANNELS_FIRST) -> Tensor:
        """Adds a node that makes the first output of the ONNX node, laid out as `axes`."""
        shape = output_shape(op, {role: self._shape(name) for role, name in inputs.items()})
        if min(shape) < 1:
            raise Unsupported(f"its output is empty: (channels, height, width) = {shape}", "check its attributes")
        self.nodes.append(Node(op, inputs, Value(output_name(node), shape)))
        return Tensor(output_name(node), shape, axes, self.batch)

    def keep(self, node: onnx_ir.Node, index: int, array: NDArray[np.floating]) -> str:
        """Adds the constant input `index`, rearranged as `array`, under its ONNX name; returns that name."""
        return self._add(input_name(node, index), array)

    def derive(self, node: onnx_ir.Node, role: str, array: NDArray[np.floating]) -> str:
        """Adds a constant computed for a node, as `<output>.<role>`; returns its name."""
        name = f"{output_name(node)}.{role}"
        return self._add(name + "_" * (name in self.names), array)

    def _add(self, name: str, array: NDArray[np.floating]) -> str:
        payload = finite(name, np.ascontiguousarray(array, dtype=np.float32))
        while not np.array_equal(self.constants.get(name, payload), payload):
            name += "_"  # two nodes read one initializer in different arrangements
        self.constants[name] = payload
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.constants[name].shape if name in self.constants else self.tensors[name].map_shape


def output_name(node: onnx_ir.Node) -> str:
    return str(node.outputs[0].name)


def has_input(node: onnx_ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def input_name(node: onnx_ir.Node, index: int) -> str:
    """The name of an input; empty if it is absent."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return "" if value is None else str(value.name)


def has_second_output(node: onnx_ir.Node) -> bool:
    """Whether anything reads the node's second output."""
    return any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def constant(node: onnx_ir.Node, index: int) -> NDArray[np.generic]:
    """A constant input; raises Unsupported if it is computed at run time."""
    value = node.inputs[index]
    assert value is not None
    tensor = onnx_ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise Unsupported(
            f"its input {index} ({value.name}) is computed at run time", "make it a constant of the model"
        )
    return tensor.numpy()


def weights(node: onnx_ir.Node, index: int) -> NDArray[np.float32]:
    """A constant input as float32; raises ModelError where it holds NaN or infinity."""
    return finite(input_name(node, index), constant(node, index).astype(np.float32))


def finite(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(array).all():
        fix = "the training or the export went wrong: export the network again"
        raise ModelError(f"the constant {name} holds NaN or infinity", where=f"tensor {name}", fix=fix)
    return array


def integers(node: onnx_ir.Node, attribute: str, index: int) -> list[int] | None:
    """Integers that old opsets give as an attribute and newer ones as the constant input `index`; None if absent."""
    if has_input(node, index):
        return [int(number) for number in constant(node, index).astype(np.int64).ravel()]
    given = node.attributes.get_ints(attribute)
    return None if given is None else list(given)


def number(node: onnx_ir.Node, attribute: str, index: int, default: float) -> float:
    """A number that old opsets give as an attribute and newer ones as the constant input `index`."""
    if has_input(node, index):
        return float(constant(node, index).astype(np.float32).reshape(-1)[0])
    given = node.attributes.get_float(attribute)
    return default if given is None else float(given)


def pair(node: onnx_ir.Node, attribute: str, default: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """An attribute of two integers, (vertical, horizontal)."""
    vertical, horizontal = node.attributes.get_ints(attribute) or default
    return int(vertical), int(horizontal)
