"""Functions of one number, lowered: read from a table of integers, or computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bfpc.emulator.exact import FLOAT32_LIMIT
from bfpc.emulator.onnx_builder import FLOAT64, INT32, OnnxBuilder, Tensor
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Table
from bfpc.numerics.layer import TABLE_ENTRIES, LayerArithmetic


def lower_table(
    builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, arithmetic: LayerArithmetic, shape: tuple[int, int, int]
) -> Tensor:
    """What a quantized layer's table holds for x [batch, *shape]."""
    shift, offset = arithmetic.table_shift, arithmetic.table_offset
    if abs(offset) + TABLE_ENTRIES > FLOAT32_LIMIT:
        x = builder.cast(x, FLOAT64)
    x = builder.call("Mul", x, builder.number(2.0 ** -(_exponent_before(graph, node, arithmetic) + shift), x))
    x = builder.call("Add", builder.call("Round", x), builder.number(offset, x))
    index = builder.call("Clip", x, builder.number(0, x), builder.number(TABLE_ENTRIES - 1, x))
    exponent = arithmetic.output_exponent + arithmetic.reciprocal_shift
    entries = np.ldexp(graph.array(node.inputs["table"]).astype(np.float32), exponent)
    flat = builder.call("Reshape", builder.cast(index, INT32), builder.integers(-1))
    # On one axis GatherElements takes a seventh of the time that Gather does.
    found = builder.call("GatherElements", builder.constant(entries), flat, axis=0)
    return builder.call("Reshape", found, builder.integers(-1, *shape))


def _exponent_before(graph: Graph, node: Node, arithmetic: LayerArithmetic) -> int:
    """The weight of the LSB that the table's index is made of is 2 to this power."""
    exponent = arithmetic.accumulator_exponent - arithmetic.accumulator_shift
    if "residual" in node.inputs and node.layer.tail.residual == "multiply":
        exponent += graph.format(node.inputs["residual"]).exponent
    return exponent


def lower_function(builder: OnnxBuilder, x: Tensor, table: Table) -> Tensor:
    """The function itself, one operator of ONNX after the other."""
    y = x
    for name, *parameters in table.steps:
        y = FUNCTIONS[str(name)](builder, y, *map(float, parameters))
    return builder.call("Mul", y, x) if table.gated else y


def _affine(builder: OnnxBuilder, x: Tensor, scale: float, shift: float) -> Tensor:
    return builder.call("Add", builder.call("Mul", x, builder.number(scale, x)), builder.number(shift, x))


def _clip(builder: OnnxBuilder, x: Tensor, low: float, high: float) -> Tensor:
    return builder.call("Clip", x, builder.number(low, x), builder.number(high, x))


def _polynomial(builder: OnnxBuilder, x: Tensor, *coefficients: float) -> Tensor:
    """The constant coefficient comes first."""
    *others, highest = coefficients
    y = builder.call("Mul", x, builder.number(highest if others else 0.0, x))
    for coefficient in reversed(others[1:]):
        y = builder.call("Mul", builder.call("Add", y, builder.number(coefficient, x)), x)
    return builder.call("Add", y, builder.number(coefficients[0], x))


def _power(builder: OnnxBuilder, x: Tensor, exponent: float) -> Tensor:
    return builder.call("Pow", x, builder.number(exponent, x))


def _elu(builder: OnnxBuilder, x: Tensor, alpha: float = 1.0) -> Tensor:
    return builder.call("Elu", x, alpha=alpha)


def _named(op_type: str) -> Callable[[OnnxBuilder, Tensor], Tensor]:
    return lambda builder, x: builder.call(op_type, x)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {  # those of numerics.functions
    "affine": _affine,
    "clip": _clip,
    "elu": _elu,
    "erf": _named("Erf"),
    "exp": _named("Exp"),
    "log": _named("Log"),
    "polynomial": _polynomial,
    "power": _power,
    "reciprocal": _named("Reciprocal"),
    "sigmoid": _named("Sigmoid"),
    "softplus": _named("Softplus"),
    "softsign": _named("Softsign"),
    "sqrt": _named("Sqrt"),
    "tanh": _named("Tanh"),
}
