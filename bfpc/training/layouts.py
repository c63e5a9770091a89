"""What lies between a user's tensors and the maps of the graph, in PyTorch: layouts and folds (see `ir.layout`)."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from bfpc.ir.graph import Port, Shape, Value
from bfpc.ir.layout import Axes, Fold

MAP_AXES = "NCHW"


def read_input(x: Tensor, port: Port, value: Value) -> Tensor:
    """A tensor in ONNX layout as the map [batch, channels, height, width] that the graph reads."""
    shape = port.map_shape(value)
    order = "".join(port.axes)
    sizes = dict(zip(MAP_AXES, (x.numel() // prod(shape), *shape), strict=True))
    present = x.reshape([sizes[axis] for axis in order])
    plain = present.permute([order.index(axis) for axis in MAP_AXES if axis in order]).reshape(-1, *shape)
    return plain if port.fold is None else _folded(plain, port.fold, value.shape)


def _folded(x: Tensor, fold: Fold, shape: Shape) -> Tensor:
    """The taps of the fold's kernel, each a strided slice, joined along channels."""
    (height, width), (top, left) = shape[1:], fold.pads[:2]
    spans = [(n - 1) * stride + kernel for n, stride, kernel in zip(shape[1:], fold.stride, fold.kernel, strict=True)]
    canvas = functional.pad(x, (left, spans[1] - left - x.shape[3], top, spans[0] - top - x.shape[2]))
    rows, columns = fold.stride
    taps = [
        canvas[:, :, dy : dy + (height - 1) * rows + 1 : rows, dx : dx + (width - 1) * columns + 1 : columns]
        for dy, dx in product(range(fold.kernel[0]), range(fold.kernel[1]))
    ]
    return torch.cat(taps, 1)


def show_output(x: Tensor, axes: Axes) -> Tensor:
    """Maps [batch, channels, height, width] as the tensor that ONNX users see."""
    order = "".join(axes)
    absent = [axis for axis in MAP_AXES if axis not in order]
    sizes = dict(zip(MAP_AXES, x.shape, strict=True))
    shape = [prod(sizes[axis] for axis in group) for group in axes]
    return x.permute([MAP_AXES.index(axis) for axis in (*order, *absent)]).reshape(shape)
