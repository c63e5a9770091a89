"""A layer's tail, lowered: residual, activation and pooling on exact numbers.

The bias is in the accumulators already.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.emulator.exact import FLOAT32_LIMIT
from bfpc.emulator.onnx_builder import FLOAT64, OnnxBuilder, Tensor
from bfpc.emulator.positions import padded_map
from bfpc.emulator.table import lower_function, lower_table
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Clip, Pass, PositionScale, PRelu, Table, Window
from bfpc.numerics.layer import POSITION_SCALE_SHIFT, SLOPE_SHIFT, TABLE_ENTRIES, LayerArithmetic, reciprocal

JOINS = {"add": "Add", "subtract": "Sub", "multiply": "Mul"}


def lower_tail(
    builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, residual: Tensor | None, shape: tuple[int, int, int]
) -> Tensor:
    """What the quantizer gets; shape: (channels, height, width) of the accumulators, whole blocks."""
    tail, arithmetic = node.layer.tail, node.arithmetic
    if arithmetic is not None and arithmetic.position_bound > FLOAT32_LIMIT:
        x = builder.cast(x, FLOAT64)
    if residual is not None:
        x = builder.call(JOINS[tail.residual], x, builder.cast(residual, x.dtype))
    match tail.activation:
        case Clip() as clip:
            x = _clip(builder, x, clip, arithmetic)
        case PRelu():
            x = _prelu(builder, graph, node, x, shape[0])
        case PositionScale() as scale:
            x = _scale_positions(builder, graph, node, x, scale, shape[1:])
        case Table() as table:
            if arithmetic is None:
                x = lower_function(builder, x, table)
            else:
                x = lower_table(builder, graph, node, x, arithmetic, shape)
    if _fills_padding(graph, node):
        x = _clear_padding(builder, x, graph.value(node.name).shape[0], shape[0])
    if tail.pool is not None:
        x = _pool(builder, x, tail.pool, shape[1:], arithmetic)
    return x


def _clip(builder: OnnxBuilder, x: Tensor, clip: Clip, arithmetic: LayerArithmetic | None) -> Tensor:
    low, high = clip.low, clip.high
    if arithmetic is not None:
        scale = 2.0 ** (arithmetic.output_exponent + arithmetic.reciprocal_shift)
        low = -np.inf if arithmetic.clip_low is None else arithmetic.clip_low * scale
        high = np.inf if arithmetic.clip_high is None else arithmetic.clip_high * scale
    if low == 0 and high == np.inf:
        return builder.call("Relu", x)
    if low != -np.inf:
        x = builder.call("Max", x, builder.number(low, x))
    if high != np.inf:
        x = builder.call("Min", x, builder.number(high, x))
    return x


def _fills_padding(graph: Graph, node: Node) -> bool:
    """Whether the layer makes something else than zero of the padding channels, whose accumulators are zero."""
    if isinstance(node.op, Pass) and node.op.pad_value:
        return True
    match node.layer.tail.activation:
        case Clip(low, high):
            return not low <= 0 <= high
        case Table() if node.arithmetic is not None:
            return bool(graph.array(node.inputs["table"])[min(max(node.arithmetic.table_offset, 0), TABLE_ENTRIES - 1)])
        case _:
            return False


def _clear_padding(builder: OnnxBuilder, x: Tensor, channels: int, padded: int) -> Tensor:
    if channels == padded:
        return x
    mask = (np.arange(padded) < channels).astype(x.dtype).reshape(-1, 1, 1)
    return builder.call("Mul", x, builder.constant(mask))


def _prelu(builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, channels: int) -> Tensor:
    slope = np.asarray(graph.array(node.inputs["slope"]), np.float64)
    if node.arithmetic is not None:
        slope = slope * 2.0**-SLOPE_SHIFT
    slopes = builder.constant(np.pad(slope, (0, channels - len(slope))).reshape(-1, 1, 1).astype(x.dtype))
    zero = builder.number(0, x)
    negative = builder.call("Mul", builder.call("Min", x, zero), slopes)
    return builder.call("Add", builder.call("Max", x, zero), negative)


def _scale_positions(
    builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, scale: PositionScale, size: tuple[int, int]
) -> Tensor:
    """x times the number of each row or column."""
    numbers = np.asarray(graph.array(node.inputs["table"]), np.float64)
    if node.arithmetic is not None:
        numbers = numbers * 2.0**-POSITION_SCALE_SHIFT
    along = (-1, 1) if scale.axis == "row" else (1, -1)
    count = size[0] if scale.axis == "row" else size[1]
    return builder.call("Mul", x, builder.constant(numbers[:count].reshape(along).astype(x.dtype)))


def _pool(
    builder: OnnxBuilder, x: Tensor, window: Window, size: tuple[int, int], arithmetic: LayerArithmetic | None
) -> Tensor:
    attributes: dict[str, Any] = {"kernel_shape": window.kernel, "strides": window.stride, "pads": window.pads}
    if window.kind == "max":
        return builder.call("MaxPool", x, **attributes)
    if arithmetic is None:
        return builder.call("AveragePool", x, **attributes, count_include_pad=int(window.count_padding))
    total = _window_sum(builder, builder.cast(x, FLOAT64), window, size)
    scale = 2.0**-arithmetic.reciprocal_shift
    ratios = np.vectorize(lambda count: reciprocal(int(count), arithmetic.reciprocal_shift) * scale)
    return builder.call("Mul", total, builder.constant(ratios(window_counts(window, size)).astype(np.float64)))


def _window_sum(builder: OnnxBuilder, x: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    """The sum over each window, along columns and then along rows: exact in float64."""
    x = padded_map(builder, x, window.pads)
    for axis, outputs in enumerate(window.output_size(size)):
        kernel, stride = window.kernel[axis], window.stride[axis]
        if kernel == size[axis] + window.pads[axis] + window.pads[axis + 2]:
            x = builder.reduce("ReduceSum", x, 2 + axis)
            continue
        bounds = [(start, start + (outputs - 1) * stride + 1, 2 + axis, stride) for start in range(kernel)]
        parts = [builder.call("Slice", x, *map(builder.integers, bound)) for bound in bounds]
        x = reduce(partial(builder.call, "Add"), parts)
    return x


def window_counts(window: Window, size: tuple[int, int]) -> NDArray[np.int64]:
    """By how many positions each window's sum is divided: [output height, output width]."""
    lengths = []
    for axis, outputs in enumerate(window.output_size(size)):
        before, after = window.pads[axis], window.pads[axis + 2]
        start = np.arange(outputs) * window.stride[axis] - before
        low, high = (-before, size[axis] + after) if window.count_padding else (0, size[axis])
        lengths.append(np.minimum(start + window.kernel[axis], high) - np.maximum(start, low))
    return np.outer(*lengths)
