"""What the array computes, lowered: convolutions, depthwise ones, and maps passed through."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.emulator.exact import FLOAT32_LIMIT, Split, split_convolution
from bfpc.emulator.onnx_builder import FLOAT64, OnnxBuilder, Tensor
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import NO_PADS, Conv, Depthwise, Pads, Pass
from bfpc.numerics.format import BfpFormat, BfpTensor

INT64_MAX = np.iinfo(np.int64).max


def lower_array(builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, channels: tuple[int, int]) -> Tensor:
    """The accumulators of a layer with its bias added; float64 where float32 could not hold them.

    x: [batch, channels[0], height, width]; the result has channels[1] channels, both numbers padded to whole blocks.
    """
    if isinstance(node.op, Pass):
        return _strided(builder, _padded_map(builder, x, node.op.pads), node.op.stride)
    assert isinstance(node.op, Conv | Depthwise)
    if min(node.op.pads) < 0:
        x = _padded_map(builder, x, node.op.pads)
    bias = _padded_bias(graph, node, channels[1])
    weight = graph.constants[node.inputs["weight"]]
    if not isinstance(weight, BfpTensor):
        tensors = [x, builder.constant(_pad_channels(np.asarray(weight), node.op, channels).astype(np.float32))]
        if bias is not None:
            tensors.append(builder.constant(bias.astype(np.float32)))
        return builder.call("Conv", *tensors, **_attributes(node.op, channels[0]))
    input_format = graph.value(node.inputs["x"]).format
    assert input_format is not None
    return _exact_convolution(builder, node, x, weight, input_format, bias, channels)


def _exact_convolution(
    builder: OnnxBuilder,
    node: Node,
    x: Tensor,
    weight: BfpTensor,
    input_format: BfpFormat,
    bias: NDArray[np.float64] | None,
    channels: tuple[int, int],
) -> Tensor:
    assert isinstance(node.op, Conv | Depthwise)
    assert node.arithmetic is not None
    aligned = _pad_channels(weight.aligned, node.op, channels)
    taps = aligned.reshape(*aligned.shape[:2], -1)
    scale = 2.0**weight.format.exponent
    attributes = _attributes(node.op, channels[0])
    if node.arithmetic.position_bound <= FLOAT32_LIMIT:
        tensors = [x, builder.constant((aligned * scale).astype(np.float32))]
        if bias is not None:
            tensors.append(builder.constant(bias.astype(np.float32)))
        return builder.call("Conv", *tensors, **attributes)
    split = split_convolution(taps, input_format.max_aligned, signed=input_format.signed)
    total = _sum_of_parts(builder, x, aligned, scale, split, input_format.exponent, attributes)
    if bias is not None:
        total = builder.call("Add", total, builder.constant(bias.reshape(-1, 1, 1)))
    return total


def _sum_of_parts(
    builder: OnnxBuilder,
    x: Tensor,
    aligned: NDArray[np.int64],
    scale: float,
    split: Split,
    exponent: int,
    attributes: dict[str, Any],
) -> Tensor:
    """The partial convolutions of a split, each exact in float32, added in float64."""
    total: Tensor | None = None
    depthwise = attributes["group"] != 1
    for digit in _activation_digits(builder, x, split, exponent):
        for (place, part), chunk in product(enumerate(split.weights.split(aligned)), split.chunks):
            weights = (part[:, chunk] * (scale * 2.0 ** (place * split.weights.width))).astype(np.float32)
            inputs = digit
            if len(split.chunks) > 1:
                assert not depthwise
                inputs = builder.call("Slice", digit, *(builder.integers(n) for n in (chunk.start, chunk.stop, 1)))
            partial = builder.cast(builder.call("Conv", inputs, builder.constant(weights), **attributes), FLOAT64)
            total = partial if total is None else builder.call("Add", total, partial)
    assert total is not None
    return total


def _activation_digits(builder: OnnxBuilder, x: Tensor, split: Split, exponent: int) -> list[Tensor]:
    """x as a sum of tensors with few significant bits, lowest digit first; x is a multiple of `2**exponent`."""
    parts = []
    for place in range(split.activations.count - 1, 0, -1):
        magic = builder.number(1.5 * 2.0 ** (23 + exponent + place * split.activations.width), x)
        high = builder.call("Sub", builder.call("Add", x, magic), magic)
        parts.append(high)
        x = builder.call("Sub", x, high)
    return [x, *reversed(parts)]


def _padded_map(builder: OnnxBuilder, x: Tensor, pads: Pads) -> Tensor:
    """The map with zeros around it, or cropped where pads are negative."""
    if pads == NO_PADS:
        return x
    top, left, bottom, right = pads
    return builder.call("Pad", x, builder.integers(0, 0, top, left, 0, 0, bottom, right))


def _strided(builder: OnnxBuilder, x: Tensor, stride: tuple[int, int]) -> Tensor:
    if stride == (1, 1):
        return x
    bounds = (builder.integers(0, 0), builder.integers(INT64_MAX, INT64_MAX), builder.integers(2, 3))
    return builder.call("Slice", x, *bounds, builder.integers(*stride))


def _attributes(op: Conv | Depthwise, channels: int) -> dict[str, Any]:
    groups = op.groups if isinstance(op, Conv) else channels
    pads = op.pads if min(op.pads) >= 0 else NO_PADS  # done already
    return {"strides": op.stride, "pads": pads, "dilations": op.dilation, "group": groups}


def _padded_bias(graph: Graph, node: Node, channels: int) -> NDArray[np.float64] | None:
    """The bias in real units, zeros for padding channels."""
    if "bias" not in node.inputs:
        return None
    bias = np.asarray(graph.array(node.inputs["bias"]), np.float64)
    if node.arithmetic is not None:
        bias = bias * 2.0**node.arithmetic.accumulator_exponent
    return np.pad(bias, (0, channels - len(bias)))


def _pad_channels(weight: NDArray[Any], op: Conv | Depthwise, channels: tuple[int, int]) -> NDArray[Any]:
    """Weights with zeros for the padding channels of their input and output."""
    inputs = 0 if isinstance(op, Depthwise) or op.groups > 1 else channels[0] - weight.shape[1]
    return np.pad(weight, ((0, channels[1] - weight.shape[0]), (0, inputs), (0, 0), (0, 0)))
