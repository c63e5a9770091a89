"""The output shape of every operator, from the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from bfpc.ir.operators import (
    Activate,
    Channels,
    Concat,
    Conv,
    Depthwise,
    Elementwise,
    Layer,
    Operator,
    Pad,
    Pair,
    Pass,
    Pool,
    Scale,
    Slice,
    window_output_size,
)


def output_shape(op: Operator, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """(channels, height, width) of what `op` makes of inputs with `shapes`, keyed by input name."""
    match op:
        case Concat():
            return sum(shape[0] for shape in shapes.values()), shapes["x0"][1], shapes["x0"][2]
        case Conv() | Depthwise() | Pass():
            return _layer_shape(op, shapes)
        case Channels():
            return op.stop - op.start, *_map_shape(shapes)[1:]
        case Scale() | Activate() | Elementwise():
            return _map_shape(shapes)
        case Pool():
            channels, height, width = _map_shape(shapes)
            return channels, *op.window.output_size((height, width))
        case Pad():
            channels, height, width = _map_shape(shapes)
            top, left, bottom, right = op.pads
            return channels + sum(op.channels), height + top + bottom, width + left + right
        case Slice():
            bounds = zip(op.start, op.stop, op.step, _map_shape(shapes), strict=True)
            c, h, w = (len(range(size)[start:stop:step]) for start, stop, step, size in bounds)
            return c, h, w


def array_size(op: Layer, size: Pair) -> Pair:
    """Height and width of a layer's accumulators, before its tail pools them, where it reads a map of `size`."""
    dilated = ((size[0] - 1) * op.input_dilation[0] + 1, (size[1] - 1) * op.input_dilation[1] + 1)
    return window_output_size(dilated, op.kernel, op.stride, op.pads, op.dilation)


def _layer_shape(op: Layer, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    channels, height, width = _map_shape(shapes)
    if not isinstance(op, Pass):
        channels = shapes["weight"][0]
    size = array_size(op, (height, width))
    return channels, *(size if op.tail.pool is None else op.tail.pool.output_size(size))


def _map_shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    channels, height, width = shapes["x"]
    return channels, height, width
