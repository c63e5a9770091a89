"""What the array computes, lowered: convolutions, depthwise and transposed ones, and maps passed through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial, reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.emulator.exact import FLOAT32_LIMIT, Split, split_convolution
from bfpc.emulator.onnx_builder import FLOAT32, FLOAT64, OnnxBuilder, Tensor
from bfpc.emulator.positions import lower_pass, padded_map, per_side, strided
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import NO_PADS, Conv, Depthwise, Pads, Pair, Pass
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import LayerArithmetic

MATRIX_PRODUCT_COST = 1.8  # in float64, against a whole convolution in float32


@dataclass(frozen=True)
class Convolution:
    """An exact convolution with whole blocks of channels.

    weight: without padding channels. inputs: channels of the map, padding included. bias: real numbers [output
    channels] or None. shape: of the accumulators (channels, height, width).
    """

    op: Conv | Depthwise
    weight: BfpTensor
    inputs: int
    bias: NDArray[np.float64] | None
    input_format: BfpFormat
    arithmetic: LayerArithmetic
    shape: tuple[int, int, int]

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """Aligned integers [output channels, input channels or 1, kernel height, kernel width], in units of `scale`."""
        return _pad_channels(self.weight.aligned, self.op, self.inputs, self.shape[0])

    @property
    def scale(self) -> float:
        return 2.0**self.weight.format.exponent

    @property
    def bias_bound(self) -> int:
        """The bias's largest magnitude in the accumulator's LSBs."""
        lsb = 2.0**self.arithmetic.accumulator_exponent
        return 0 if self.bias is None else int(np.abs(self.bias).max() / lsb)


def lower_array(
    builder: OnnxBuilder, graph: Graph, node: Node, x: Tensor, inputs: int, shape: tuple[int, int, int]
) -> Tensor:
    """The accumulators of a layer with its bias added; float64 where float32 could not hold them.

    x: [batch, inputs, height, width]; shape: the result's (channels, height, width); channels are whole blocks.
    """
    if isinstance(node.op, Pass):
        return lower_pass(builder, x, node.op, node.arithmetic, shape)
    assert isinstance(node.op, Conv | Depthwise)
    beyond = _pads_beforehand(node.op)
    x = padded_map(builder, x, beyond, node.op.pad_mode)
    op = replace(node.op, pads=_without(node.op.pads, beyond, node.op.input_dilation))
    bias = _padded_bias(graph, node, shape[0])
    weight = graph.constants[node.inputs["weight"]]
    if not isinstance(weight, BfpTensor):
        return _convolved(builder, x, op, _pad_channels(weight, op, inputs, shape[0]), bias)
    assert node.arithmetic is not None, f"{node.name} has no arithmetic"
    input_format = graph.format(node.inputs["x"])
    return _exact(builder, x, Convolution(op, weight, inputs, bias, input_format, node.arithmetic, shape))


def _pads_beforehand(op: Conv | Depthwise) -> Pads:
    """The positions that the map is padded with, or cropped by, since no convolution of ONNX does it."""
    if op.input_dilation == (1, 1):
        return op.pads if op.pad_mode != "zero" or min(op.pads) < 0 else NO_PADS
    if op.pad_mode != "zero":
        return per_side(lambda pad, factor: max(pad, 0) // factor, op.pads, op.input_dilation)
    reach = [size - 1 for size in op.kernel]  # a transposed convolution sees no further
    missing = per_side(lambda pad, most: max(pad - most, 0), op.pads, (reach[0], reach[1]))
    return per_side(lambda pad, factor: -(-pad // factor), missing, op.input_dilation)


def _without(pads: Pads, done: Pads, input_dilation: Pair) -> Pads:
    """What is left of pads where some positions are there already."""
    top, left, bottom, right = per_side(lambda pad, factor: pad * factor, done, input_dilation)
    return pads[0] - top, pads[1] - left, pads[2] - bottom, pads[3] - right


def _exact(builder: OnnxBuilder, x: Tensor, conv: Convolution) -> Tensor:
    """In float32 where that holds the sums; else in parts that it holds, or in float64, whichever is faster."""
    if conv.arithmetic.accumulator_bound + conv.bias_bound <= FLOAT32_LIMIT:
        return _convolved(builder, x, conv.op, conv.weights * conv.scale, conv.bias)
    split = _split(conv.weight, conv.op, conv.inputs, conv.shape[0], conv.input_format)
    if isinstance(conv.op, Conv) and conv.op.kernel == (1, 1) and split.cost > MATRIX_PRODUCT_COST:
        return _biased(builder, _matrix_product(builder, x, conv), conv.bias)
    total = reduce(partial(builder.call, "Add"), _partial_sums(builder, x, conv, split))
    return _biased(builder, total, conv.bias)


@lru_cache(maxsize=1)  # a layer is lowered again and again while its bias is chosen
def _split(weight: BfpTensor, op: Conv | Depthwise, inputs: int, outputs: int, input_format: BfpFormat) -> Split:
    weights = _pad_channels(weight.aligned, op, inputs, outputs)
    taps = weights.reshape(*weights.shape[:2], -1)
    return split_convolution(taps, input_format.max_aligned, signed=input_format.signed)


def _convolved(
    builder: OnnxBuilder, x: Tensor, op: Conv | Depthwise, weights: NDArray[Any], bias: NDArray[Any] | None
) -> Tensor:
    """An ONNX convolution, or a transposed one where zeros stand between the map's positions."""
    groups = op.groups if isinstance(op, Conv) else len(weights)
    kind = "Conv"
    attributes: dict[str, Any] = {"strides": op.stride, "pads": op.pads, "dilations": op.dilation}
    if op.input_dilation != (1, 1):
        weights = _transposed(weights, groups)
        pads = per_side(lambda pad, size: size - 1 - pad, op.pads, op.kernel)
        kind, attributes = "ConvTranspose", {"strides": op.input_dilation, "pads": pads}
    operands = [builder.constant(array.astype(FLOAT32)) for array in ([weights] if bias is None else [weights, bias])]
    return builder.call(kind, x, *operands, group=groups, **attributes)


def _transposed(weights: NDArray[Any], groups: int) -> NDArray[Any]:
    """Weights [outputs, inputs per group, ...] as a transposed convolution's [inputs, outputs per group, ...]."""
    outputs, inputs, *taps = weights.shape
    turned = weights[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, *taps)
    return turned.swapaxes(1, 2).reshape(groups * inputs, outputs // groups, *taps)


def _biased(builder: OnnxBuilder, sums: Tensor, bias: NDArray[np.float64] | None) -> Tensor:
    return sums if bias is None else builder.call("Add", sums, builder.constant(bias.reshape(-1, 1, 1)))


def _matrix_product(builder: OnnxBuilder, x: Tensor, conv: Convolution) -> Tensor:
    """A convolution of one tap in float64, which holds any accumulator."""
    outputs, inputs = conv.weights.shape[:2]
    x = strided(builder, padded_map(builder, x, conv.op.pads), conv.op.stride)
    columns = builder.call("Reshape", builder.cast(x, FLOAT64), builder.integers(0, inputs, -1))
    matrix = builder.constant(conv.weights.reshape(outputs, inputs) * conv.scale)
    return builder.call("Reshape", builder.call("MatMul", matrix, columns), builder.integers(0, *conv.shape))


def _partial_sums(builder: OnnxBuilder, x: Tensor, conv: Convolution, split: Split) -> list[Tensor]:
    """The partial convolutions of a split, each exact in float32, as float64."""
    sums: list[Tensor] = []
    weight_digits = list(enumerate(split.weights.split(conv.weights)))
    for digit in _activation_digits(builder, x, split, conv.input_format.exponent):
        for (place, weights), chunk in product(weight_digits, split.chunks):
            channels = digit
            if len(split.chunks) > 1:
                channels = builder.call("Slice", digit, *(builder.integers(n) for n in (chunk.start, chunk.stop, 1)))
            real = weights[:, chunk] * (conv.scale * 2.0 ** (place * split.weights.width))
            sums.append(builder.cast(_convolved(builder, channels, conv.op, real, None), FLOAT64))
    return sums


def _activation_digits(builder: OnnxBuilder, x: Tensor, split: Split, exponent: int) -> list[Tensor]:
    """x as a sum of tensors with few significant bits, lowest digit first; x is a multiple of `2**exponent`."""
    parts = []
    for place in range(split.activations.count - 1, 0, -1):
        magic = builder.number(1.5 * 2.0 ** (23 + exponent + place * split.activations.width), x)
        high = builder.call("Sub", builder.call("Add", x, magic), magic)
        parts.append(high)
        x = builder.call("Sub", x, high)
    return [x, *reversed(parts)]


def _padded_bias(graph: Graph, node: Node, channels: int) -> NDArray[np.float64] | None:
    """The bias in real units, zeros for padding channels."""
    if "bias" not in node.inputs:
        return None
    bias = np.asarray(graph.array(node.inputs["bias"]), np.float64)
    if node.arithmetic is not None:
        bias = bias * 2.0**node.arithmetic.accumulator_exponent
    return np.pad(bias, (0, channels - len(bias)))


def _pad_channels(weight: NDArray[Any], op: Conv | Depthwise, inputs: int, outputs: int) -> NDArray[Any]:
    """Weights with zeros for the padding channels of their input and output."""
    missing = 0 if isinstance(op, Depthwise) or op.groups > 1 else inputs - weight.shape[1]
    return np.pad(weight, ((0, outputs - weight.shape[0]), (0, missing), (0, 0), (0, 0)))
