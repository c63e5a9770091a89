"""What lies between a user's tensors and the maps of the graph, lowered: layouts, folds and the input quantizer."""

from __future__ import annotations

from itertools import product
from math import prod

from bfpc.emulator.lowering import pad_to, take_channels, whole_blocks
from bfpc.emulator.onnx_builder import FLOAT32, OnnxBuilder, Tensor
from bfpc.emulator.quantizer import lower_input_quantizer
from bfpc.ir.graph import Port, Value
from bfpc.ir.layout import Axes, Fold

MAP_AXES = "NCHW"


def lower_input(builder: OnnxBuilder, x: Tensor, port: Port, value: Value, block: int) -> Tensor:
    """A user's tensor as the quantized map that the graph reads, its channels padded to whole blocks."""
    assert value.format is not None
    x = from_onnx(builder, builder.cast(x, FLOAT32), port.axes, port.map_shape(value))
    if port.fold is not None:
        x = _folded(builder, x, port.fold, value.shape[1:])
    x = whole_blocks(builder, x, value.shape[0], block)
    return lower_input_quantizer(builder, x, (pad_to(value.shape[0], block), *value.shape[1:]), value.format)


def from_onnx(builder: OnnxBuilder, x: Tensor, axes: Axes, shape: tuple[int, int, int]) -> Tensor:
    """A tensor of the layout `axes` as maps [batch, channels, height, width]."""
    order = "".join(axes)
    sizes = dict(zip(MAP_AXES, (-1, *shape), strict=True))
    if any(len(axis) != 1 for axis in axes):
        x = builder.call("Reshape", x, builder.integers(*(sizes[axis] for axis in order)))
    x = _transposed(builder, x, [order.index(axis) for axis in MAP_AXES if axis in order])
    return x if len(order) == len(MAP_AXES) else builder.call("Reshape", x, builder.integers(-1, *shape))


def to_onnx(builder: OnnxBuilder, x: Tensor, axes: Axes, shape: tuple[int, int, int]) -> Tensor:
    """Maps [batch, channels and padding, height, width] as a tensor of the layout `axes`."""
    x = take_channels(builder, x, 0, shape[0])
    order = "".join(axes)
    absent = [axis for axis in MAP_AXES if axis not in order]
    x = _transposed(builder, x, [MAP_AXES.index(axis) for axis in (*order, *absent)])
    return x if all(len(axis) == 1 for axis in axes) and not absent else _grouped(builder, x, axes, shape)


def _grouped(builder: OnnxBuilder, x: Tensor, axes: Axes, shape: tuple[int, int, int]) -> Tensor:
    sizes = dict(zip("CHW", shape, strict=True))
    dims = [-1 if "N" in group else prod(sizes[axis] for axis in group) for group in axes]
    return builder.call("Reshape", x, builder.integers(*dims))


def _transposed(builder: OnnxBuilder, x: Tensor, order: list[int]) -> Tensor:
    return x if order == sorted(order) else builder.call("Transpose", x, perm=order)


def _folded(builder: OnnxBuilder, x: Tensor, fold: Fold, size: tuple[int, int]) -> Tensor:
    """The taps of the fold's kernel, each a strided slice, joined along channels (see `Fold`)."""
    spans = [(n - 1) * stride + kernel for n, stride, kernel in zip(size, fold.stride, fold.kernel, strict=True)]
    top, left = fold.pads[:2]
    bottom, right = spans[0] - top - fold.source[1], spans[1] - left - fold.source[2]
    canvas = builder.call("Pad", x, builder.integers(0, 0, top, left, 0, 0, bottom, right))
    taps = []
    for dy, dx in product(range(fold.kernel[0]), range(fold.kernel[1])):
        ends = (dy + (size[0] - 1) * fold.stride[0] + 1, dx + (size[1] - 1) * fold.stride[1] + 1)
        bounds = (builder.integers(dy, dx), builder.integers(*ends), builder.integers(2, 3))
        taps.append(builder.call("Slice", canvas, *bounds, builder.integers(*fold.stride)))
    return builder.call("Concat", *taps, axis=1)
