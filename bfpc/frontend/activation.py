"""Activations: exact ones, and functions of one number, which the accelerator reads from tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir

from bfpc.frontend.builder import GraphBuilder, Importer, number, weights
from bfpc.frontend.node_builder import NodeBuilder
from bfpc.frontend.tensor import Tensor, per_channel
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Activate, Clip, PRelu, Table
from bfpc.numerics.functions import Step

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def import_relu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return NodeBuilder(node, net).activate(Clip(), net.feature(node))


def import_clip(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    low, high = (_unbounded(number(node, *bound)) for bound in (("min", 1, -math.inf), ("max", 2, math.inf)))
    if math.isnan(low) or math.isnan(high) or low > high:
        raise Unsupported(f"its bounds are {low} and {high}", "use a lower bound that is not above the upper one")
    if math.isinf(low) and math.isinf(high):
        return x
    return NodeBuilder(node, net).activate(Clip(low, high), x)


def _unbounded(bound: float) -> float:
    """Infinity for the largest float32, which old exporters write where there is no bound."""
    return math.copysign(math.inf, bound) if abs(bound) >= float(np.finfo(np.float32).max) else bound


def import_leaky_relu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return NodeBuilder(node, net).leaky(net.feature(node), _attribute(node, "alpha", 0.01))


def import_abs(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return NodeBuilder(node, net).leaky(net.feature(node), -1.0)


def import_prelu(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    slope = net.keep(node, 1, per_channel(x, weights(node, 1)))
    return net.emit(node, Activate(PRelu()), {"x": x.value, "slope": slope}, x.axes)


def import_hard_sigmoid(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    build, alpha, beta = NodeBuilder(node, net), _attribute(node, "alpha", 0.2), _attribute(node, "beta", 0.5)
    return build.activate(Clip(0.0, 1.0), build.scale(net.feature(node), alpha, beta, role="scaled"))


def import_pow(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """x to a constant power; a square is a product."""
    build, x = NodeBuilder(node, net), net.feature(node)
    exponents = np.unique(per_channel(x, weights(node, 1)))
    if len(exponents) != 1:
        raise Unsupported("its exponents differ", "use one exponent for all elements")
    exponent = float(exponents[0])
    if exponent == 1:
        return x
    return build.multiply(x, x) if exponent == 2 else build.table(x, ("power", exponent))


def import_function(table: Callable[[onnx_ir.Node], Table]) -> Importer:
    """The importer of a function of one number; `table` makes its table from the node's attributes."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        return NodeBuilder(node, net).activate(table(node), net.feature(node))

    return importer


def function(*steps: Step) -> Importer:
    """The importer of a function without attributes."""
    return import_function(lambda node: Table(steps))


def elu(node: onnx_ir.Node) -> Table:
    return Table((("elu", _attribute(node, "alpha", 1.0)),))


def celu(node: onnx_ir.Node) -> Table:
    alpha = _attribute(node, "alpha", 1.0)
    return Table((("affine", 1 / alpha, 0.0), ("elu", 1.0), ("affine", alpha, 0.0)))


def selu(node: onnx_ir.Node) -> Table:
    alpha, gamma = (
        _attribute(node, "alpha", 1.67326319217681884765625),
        _attribute(node, "gamma", 1.05070102214813232421875),
    )
    return Table((("elu", alpha), ("affine", gamma, 0.0)))


def hard_swish(node: onnx_ir.Node) -> Table:
    return Table((("affine", 1 / 6, 0.5), ("clip", 0.0, 1.0)), gated=True)


def swish(node: onnx_ir.Node) -> Table:
    return Table((("affine", _attribute(node, "alpha", 1.0), 0.0), ("sigmoid",)), gated=True)


def mish(node: onnx_ir.Node) -> Table:
    return Table((("softplus",), ("tanh",)), gated=True)


def gelu(node: onnx_ir.Node) -> Table:
    if node.attributes.get_string("approximate", "none") == "tanh":
        inner: tuple[Step, ...] = (("polynomial", 0.0, SQRT_2_OVER_PI, 0.0, 0.044715 * SQRT_2_OVER_PI), ("tanh",))
    else:
        inner = (("affine", math.sqrt(0.5), 0.0), ("erf",))
    return Table((*inner, ("affine", 0.5, 0.5)), gated=True)


def _attribute(node: onnx_ir.Node, name: str, default: float) -> float:
    given = node.attributes.get_float(name)
    return default if given is None else float(given)
