"""The graph as far as it has been imported, and what importers read their node's operands with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.errors import ModelError
from bfpc.frontend.rearranging import Rearrangement, rearrangement
from bfpc.frontend.tensor import CHANNELS_FIRST, MAP_AXES, Tensor, channels_first, is_channels_first, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Node, Shape, Value
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
    _shapes: dict[str, Shape] = field(default_factory=dict, init=False)  # of the values that nodes make

    def fork(self) -> GraphBuilder:
        """A copy: what is added to it doesn't reach the original."""
        copied = replace(self, tensors=dict(self.tensors), nodes=list(self.nodes), constants=dict(self.constants))
        copied._shapes.update(self._shapes)
        return copied

    def view(self, node: onnx_ir.Node, index: int = 0) -> Tensor:
        """The feature map that is the node's input `index`, maybe with split axes; Unsupported if it's a constant."""
        name = input_name(node, index)
        if name not in self.tensors:
            fix = "make the constant an input of the network, if that costs less than a crossing"
            raise Unsupported(f"its input {index} is a constant, not a feature map", fix)
        return self.tensors[name]

    def feature(self, node: onnx_ir.Node, index: int = 0) -> Tensor:
        """As `view`, with whole axes: emits the convolution that a split tensor stands for."""
        x, name = self.view(node, index), input_name(node, index)
        if x.is_whole:
            return x
        moved = next(filter(None, (rearrangement(x, axes) for axes in MAP_AXES)), None)
        if moved is None:
            reason = f"it reads {show(x.axes)}, where lower-case letters are parts that a Reshape has split"
            raise Unsupported(reason, "keep channels, height and width whole, or join them again before it")
        self.tensors[name] = self._move(x, name, moved)
        return self.tensors[name]

    def map(self, node: onnx_ir.Node, index: int = 0) -> Tensor:
        """As `feature`, laid out (N, C, H, W), (N, C, W) or (N, C, H)."""
        x, name = self.feature(node, index), input_name(node, index)
        if len(x.axes) == 4 and not is_channels_first(x):
            moved = rearrangement(x, CHANNELS_FIRST)
            x = self.tensors[name] = self._move(x, name, moved) if moved else x
        return channels_first(x)

    def rearrange(self, node: onnx_ir.Node, x: Tensor) -> Tensor:
        """The node's first output, laid out (N, C, H, W), with the elements of `x` in the order that its axes have."""
        if is_channels_first(x):
            return x
        moved = rearrangement(x, CHANNELS_FIRST)
        if moved is None:
            raise Unsupported("it moves too many elements for one convolution", "leave it to the host")
        return self._move(x, output_name(node), moved)

    def _move(self, x: Tensor, name: str, moved: Rearrangement) -> Tensor:
        weight = self._add(self._free(f"{name}.selection"), moved.weight)
        made = self._free(f"{name}.map") if name in self._shapes else name
        return self._append(made, moved.op, {"x": x.value, "weight": weight}, moved.axes)

    def emit(
        self,
        node: onnx_ir.Node,
        op: Operator,
        inputs: dict[str, str],
        axes: Axes = CHANNELS_FIRST,
        *,
        role: str = "",
        output: int = 0,
    ) -> Tensor:
        """Adds a node that makes an output of the ONNX node, or an inner `<output>.<role>`, laid out as `axes`."""
        name = str(node.outputs[output].name)
        return self._append(self._free(f"{name}.{role}") if role else name, op, inputs, axes)

    def _append(self, name: str, op: Operator, inputs: dict[str, str], axes: Axes) -> Tensor:
        shape = output_shape(op, {role: self._shape(operand) for role, operand in inputs.items()})
        if min(shape) < 1:
            raise Unsupported(f"its output is empty: (channels, height, width) = {shape}", "check its attributes")
        self.nodes.append(Node(op, inputs, Value(name, shape)))
        self._shapes[name] = shape
        return Tensor(name, shape, axes, self.batch)

    def keep(self, node: onnx_ir.Node, index: int, array: NDArray[np.floating]) -> str:
        """Adds the constant input `index`, rearranged as `array`, under its ONNX name; returns that name.

        Names such as `<tensor>.weight` are left to what is computed for that tensor, here or by a pass.
        """
        name = input_name(node, index)
        prefixes = accumulate(name.split(".")[:-1], "{}.{}".format)
        return self._add(name + "_" * any(prefix in self.names for prefix in prefixes), array)

    def derive(self, node: onnx_ir.Node, role: str, array: NDArray[np.floating]) -> str:
        """Adds a constant computed for a node, as `<output>.<role>`; returns its name."""
        return self._add(self._free(f"{output_name(node)}.{role}"), array)

    def _free(self, name: str) -> str:
        """The name of a new value or constant, without those that the network gives."""
        return name + "_" * (name in self.names)

    def _add(self, name: str, array: NDArray[np.floating]) -> str:
        payload = finite(name, np.ascontiguousarray(array, dtype=np.float32))
        while not np.array_equal(self.constants.get(name, payload), payload):
            name += "_"  # two nodes read one initializer in different arrangements
        self.constants[name] = payload
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in self.constants:
            return self.constants[name].shape
        return self._shapes[name] if name in self._shapes else self.tensors[name].map_shape


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
