"""Lays the network's input out such that a first layer with few channels fills the lanes of the array.

    input x : 3x224x224; %y = Conv(x, w 64x3x7x7, stride 2)
    ->  input x : 147x112x112 (folded by the host); %y = Conv(x, w 64x147x1x1)

Lanes without a channel multiply zeros; a window's rows and columns laid side by side give them work. The fold takes
rows of one stride or of the whole kernel, and columns likewise, whichever costs the fewest cycles.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node, Port
from bfpc.ir.layout import Fold
from bfpc.ir.operators import Conv, Operator


def fold_input(graph: Graph, lanes: int) -> Graph:
    """lanes: input channels that the array takes per cycle."""
    readers = graph.consumers()
    for port in graph.inputs:
        users = readers[port.value]
        if len(users) == 1 and users[0].inputs.get("x") == port.value and _foldable(users[0].op):
            graph = _fold(graph, port, users[0], lanes)
    return graph


def _foldable(op: Operator) -> bool:
    """A convolution that finds zeros beyond its map, and each tap at the next position."""
    return isinstance(op, Conv) and op == Conv(op.kernel, op.stride, op.pads, tail=op.tail)


def _fold(graph: Graph, port: Port, node: Node, lanes: int) -> Graph:
    assert isinstance(node.op, Conv)
    channels, kernel = _cheapest(node.op, graph.value(port.value).shape[0], lanes)
    if kernel == (1, 1):
        return graph
    taps = _taps(node.op, kernel)
    shape = (channels, node.output.shape[1] + taps[0] - 1, node.output.shape[2] + taps[1] - 1)
    fold = Fold(graph.value(port.value).shape, kernel, node.op.stride, node.op.pads)
    name = f"{node.name}.folded_weight"
    weight = fold_weight(graph.array(node.inputs["weight"]), kernel, taps)
    constants: dict[str, Constant] = {**graph.constants, name: weight}
    folded = replace(node, op=Conv(taps, tail=node.op.tail), inputs={**node.inputs, "weight": name})
    return replace(
        graph,
        values=tuple(replace(value, shape=shape) if value.name == port.value else value for value in graph.values),
        inputs=tuple(replace(port, fold=fold) if p == port else p for p in graph.inputs),
    ).with_nodes((folded if n is node else n for n in graph.nodes), constants)


def _cheapest(op: Conv, channels: int, lanes: int) -> tuple[int, tuple[int, int]]:
    """Channels and kernel of the fold with the fewest array cycles a position, then the fewest channels."""

    def cost(kernel: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        folded = channels * prod(kernel)
        return -(-folded // lanes) * prod(_taps(op, kernel)), folded, kernel

    rows, columns = ({stride, kernel} for stride, kernel in zip(op.stride, op.kernel, strict=True))
    kernel = min({(1, 1), *product(rows, columns)}, key=cost)
    return channels * prod(kernel), kernel


def _taps(op: Conv, kernel: tuple[int, int]) -> tuple[int, int]:
    """The convolution's kernel on the folded map."""
    return -(-op.kernel[0] // kernel[0]), -(-op.kernel[1] // kernel[1])


def fold_weight(weight: NDArray[Any], kernel: tuple[int, int], taps: tuple[int, int]) -> NDArray[Any]:
    """[outputs, channels, height, width] to [outputs, kernel rows * kernel columns * channels, *taps]."""
    outputs, channels, height, width = weight.shape
    missing = (taps[0] * kernel[0] - height, taps[1] * kernel[1] - width)
    padded = np.pad(weight, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
    split = padded.reshape(outputs, channels, taps[0], kernel[0], taps[1], kernel[1])
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, -1, *taps)
