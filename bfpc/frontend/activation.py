"""Relu, Clip, LeakyRelu and PRelu."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir

from bfpc.frontend.builder import GraphBuilder, number, weights
from bfpc.frontend.tensor import Tensor, per_channel
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Activate, Clip, PRelu


def import_relu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    return net.emit(node, Activate(Clip()), {"x": x.value}, x.axes)


def import_clip(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    low, high = (_unbounded(number(node, *bound)) for bound in (("min", 1, -math.inf), ("max", 2, math.inf)))
    if math.isnan(low) or math.isnan(high) or low > high:
        raise Unsupported(f"its bounds are {low} and {high}", "use a lower bound that is not above the upper one")
    if math.isinf(low) and math.isinf(high):
        return x
    return net.emit(node, Activate(Clip(low, high)), {"x": x.value}, x.axes)


def _unbounded(bound: float) -> float:
    """Infinity for the largest float32, which old exporters write where there is no bound."""
    return math.copysign(math.inf, bound) if abs(bound) >= float(np.finfo(np.float32).max) else bound


def import_leaky_relu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    slope = np.full(x.map_shape[0], node.attributes.get_float("alpha", 0.01), np.float32)
    return net.emit(node, Activate(PRelu()), {"x": x.value, "slope": net.derive(node, "slope", slope)}, x.axes)


def import_prelu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    slope = net.keep(node, 1, per_channel(x, weights(node, 1)))
    return net.emit(node, Activate(PRelu()), {"x": x.value, "slope": slope}, x.axes)
