"""Steps that several importers share: scales, products, sums over channels, functions of one number, larger maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder
from bfpc.frontend.tensor import Tensor
from bfpc.ir.graph import Shape
from bfpc.ir.operators import Activate, Activation, Conv, Elementwise, Operator, Pass, PRelu, Scale, Table
from bfpc.numerics.functions import Step as Function

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class NodeBuilder:
    """Adds nodes for one node of the ONNX graph; each method one.

    A node makes the inner value `<output>.<role>`, or the ONNX node's output where `role` is empty.
    """

    node: onnx_ir.Node
    net: GraphBuilder

    def emit(self, op: Operator, x: Tensor, role: str = "", **inputs: str) -> Tensor:
        return self.net.emit(self.node, op, {"x": x.value, **inputs}, x.axes, role=role)

    def scale(self, x: Tensor, scale: Numbers | float, bias: Numbers | float = 0.0, role: str = "") -> Tensor:
        """x * scale + bias, both numbers or vectors of one number per channel."""
        vectors = {name: np.broadcast_to(vector, x.map_shape[0]) for name, vector in (("scale", scale), ("bias", bias))}
        return self.emit(Scale(), x, role, **{name: self.derive(role, name, array) for name, array in vectors.items()})

    def activate(self, activation: Activation, x: Tensor, role: str = "") -> Tensor:
        return self.emit(Activate(activation), x, role)

    def leaky(self, x: Tensor, slope: float, role: str = "") -> Tensor:
        """x where it is positive, else x * slope."""
        slopes = self.derive(role, "slope", np.full(x.map_shape[0], slope, np.float32))
        return self.emit(Activate(PRelu()), x, role, slope=slopes)

    def table(self, x: Tensor, *functions: Function, role: str = "", gated: bool = False) -> Tensor:
        return self.activate(Table(functions, gated), x, role)

    def multiply(self, x: Tensor, y: Tensor, role: str = "") -> Tensor:
        """The product of two maps of one shape, or of x and one position."""
        return self.emit(Elementwise("multiply"), x, role, residual=y.value)

    def mix(self, x: Tensor, matrix: Numbers, bias: Numbers | None = None, role: str = "") -> Tensor:
        """`matrix` [outputs, channels] times the channels of every position, plus `bias` [outputs]."""
        inputs = {"weight": self.derive(role, "weight", matrix[:, :, None, None])}
        if bias is not None:
            inputs["bias"] = self.derive(role, "bias", bias)
        return self.emit(Conv((1, 1)), x, role, **inputs)

    def derive(self, role: str, name: str, array: Numbers) -> str:
        return self.net.derive(self.node, within(role, name), array)


def within(role: str, name: str) -> str:
    """The role of what is made on the way to `role`."""
    return f"{role}.{name}" if role else name


def enlarge(build: NodeBuilder, x: Tensor, shape: Shape, role: str = "") -> Tensor:
    """The map repeated along its axes of size 1 until it has `shape`."""
    channels, height, width = x.map_shape
    below, beside = shape[1] - height, shape[2] - width
    if channels != shape[0]:
        x = build.mix(x, np.ones((shape[0], channels)), role=within(role, "channels") if below or beside else role)
    if below or beside:
        x = build.emit(Pass(pads=(0, 0, below, beside), pad_mode="edge"), x, role)
    return x


Step = Callable[[Tensor, str], Tensor]


def chain(x: Tensor, steps: Sequence[tuple[str, Step]], last: str = "") -> Tensor:
    """Runs steps, each with its role, one after the other; the last has the role `last`."""
    for index, (role, step) in enumerate(steps, 1):
        x = step(x, role if index < len(steps) else last)
    return x
