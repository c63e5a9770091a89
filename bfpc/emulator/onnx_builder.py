"""A small writer of ONNX graphs: nodes are calls, names are made up, constants are shared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
FLOAT32, FLOAT64, INT32 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph under construction: its name and element type."""

    name: str
    dtype: np.dtype[Any] = FLOAT32


class OnnxBuilder:
    """Collects nodes and initializers in the order they are called for."""

    def __init__(self, opset: int = OPSET, reserved: Collection[str] = ()) -> None:
        """opset: from 13 on; reserved: names that are taken."""
        self._opset, self._reserved = opset, frozenset(reserved)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._small_constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def call(self, op_type: str, *inputs: Tensor | str, output: str | None = None, **attributes: Any) -> Tensor:
        """Adds a node with one output, of the type of its first input."""
        first = inputs[0]
        assert isinstance(first, Tensor)
        name = output or self._fresh(op_type.lower())
        names = [tensor.name if isinstance(tensor, Tensor) else tensor for tensor in inputs]
        self._nodes.append(helper.make_node(op_type, names, [name], name=name, **attributes))
        return Tensor(name, first.dtype)

    def reduce(self, op_type: str, x: Tensor, *axes: int) -> Tensor:
        """ReduceMax, ReduceMin or ReduceSum over axes, which stay with size 1."""
        if op_type == "ReduceSum" or self._opset >= 18:
            return self.call(op_type, x, self.integers(*axes), keepdims=1)
        return self.call(op_type, x, axes=axes, keepdims=1)

    def merge(self, graph: onnx.GraphProto) -> None:
        """Adds another graph's nodes and initializers, whose names are its own."""
        self._nodes.extend(graph.node)
        self._initializers.extend(graph.initializer)

    def cast(self, x: Tensor, dtype: np.dtype[Any]) -> Tensor:
        if x.dtype == dtype:
            return x
        return Tensor(self.call("Cast", x, to=helper.np_dtype_to_tensor_dtype(dtype)).name, dtype)

    def number(self, value: float, like: Tensor) -> Tensor:
        """A scalar of the type of `like`."""
        return self.constant(np.array(value, like.dtype))

    def constant(self, array: NDArray[Any]) -> Tensor:
        """An initializer that holds `array`; equal small arrays are stored once."""
        if array.size > 64:
            return Tensor(self._initializer(array), array.dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._small_constants:
            self._small_constants[key] = self._initializer(array)
        return Tensor(self._small_constants[key], array.dtype)

    def integers(self, *numbers: int) -> str:
        """The name of a constant list of integers: a shape, axes, or bounds."""
        return self.constant(np.array(numbers, np.int64)).name

    def _initializer(self, array: NDArray[Any]) -> str:
        name = self._fresh("constant")
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _fresh(self, hint: str) -> str:
        self._count += 1
        name = f"{hint}:{self._count}"
        return name if name not in self._reserved else self._fresh(hint)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        domains: Mapping[str, int] | None = None,
    ) -> onnx.ModelProto:
        """The finished model; domains: versions of operator sets beside ONNX's own."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, initializer=self._initializers)
        versions = {"": self._opset, **(domains or {})}
        opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="bfpc")
        model.ir_version = max(IR_VERSION, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
        return model


def float_tensor(name: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    """The declaration of a float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
