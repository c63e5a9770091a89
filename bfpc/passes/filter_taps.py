"""What the filter taps of a convolution see of the map that it reads."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Layer
from bfpc.ir.shapes import array_size

Maps = NDArray[np.float32]


def tap_means(graph: Graph, node: Node, x: Maps) -> NDArray[np.float64]:
    """The mean input of each filter tap over output positions [images, input channels, kernel height, kernel width].

    x: what the convolution reads [images, channels, height, width].
    """
    op = node.layer
    height, width = array_size(op, graph.value(node.inputs["x"]).shape[1:])
    spread = spread_map(op, x)
    means = np.empty((*x.shape[:2], *op.kernel))
    for row, column in product(range(op.kernel[0]), range(op.kernel[1])):
        top, left = row * op.dilation[0], column * op.dilation[1]
        rows = slice(top, top + (height - 1) * op.stride[0] + 1, op.stride[0])
        columns = slice(left, left + (width - 1) * op.stride[1] + 1, op.stride[1])
        means[:, :, row, column] = spread[:, :, rows, columns].mean(axis=(2, 3))
    return means


def patches(graph: Graph, node: Node, x: Maps, most: int) -> Maps:
    """What the filter sees at output positions [positions, taps, input channels]: at all, or a sample of `most`.

    x: what the convolution reads [batch, channels, height, width]. Taps are in the order of the kernel's rows.
    """
    op = node.layer
    height, width = array_size(op, graph.value(node.inputs["x"]).shape[1:])
    count = len(x) * height * width
    sample = np.arange(count)
    if count > most:
        sample = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
    image, position = np.divmod(sample, height * width)
    row, column = np.divmod(position, width)
    spread = spread_map(op, x)
    seen = np.empty((len(sample), op.kernel[0] * op.kernel[1], x.shape[1]), np.float32)
    for tap, (down, right) in enumerate(product(range(op.kernel[0]), range(op.kernel[1]))):
        rows, columns = row * op.stride[0] + down * op.dilation[0], column * op.stride[1] + right * op.dilation[1]
        seen[:, tap] = spread[image, :, rows, columns]
    return seen


def spread_map(op: Layer, x: Maps) -> Maps:
    """The map as the filter's taps see it: zeros between its positions, and pads around them, or cropped."""
    (rows, columns), (top, left, bottom, right) = op.input_dilation, op.pads
    if op.pad_mode != "zero":  # pads of whole positions first: what they exceed the layer's by is cropped below
        whole = [max(0, -(-side // step)) for side, step in zip(op.pads, (rows, columns, rows, columns), strict=True)]
        x = np.pad(x, ((0, 0), (0, 0), (whole[0], whole[2]), (whole[1], whole[3])), mode=op.pad_mode)
        top, bottom = top - whole[0] * rows, bottom - whole[2] * rows
        left, right = left - whole[1] * columns, right - whole[3] * columns
    if op.input_dilation != (1, 1):
        dilated = np.zeros((*x.shape[:2], (x.shape[2] - 1) * rows + 1, (x.shape[3] - 1) * columns + 1), x.dtype)
        dilated[:, :, ::rows, ::columns] = x
        x = dilated
    height, width = x.shape[2:]
    x = x[:, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
    pads = [(max(before, 0), max(after, 0)) for before, after in ((top, bottom), (left, right))]
    return np.pad(x, ((0, 0), (0, 0), *pads)) if any(map(any, pads)) else x
