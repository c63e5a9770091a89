"""Turns every operator into a layer of the accelerator.

%y = Conv(x, w, groups=channels)    ->  Depthwise(x, w)
%y = Conv(x, w, groups=g)           ->  Conv(x, block-diagonal w)
%y = Scale(x, s, t)                 ->  Depthwise(x, s, bias=t) with one tap
%y = Activate(x), Pool(x)           ->  Pass(x) with that tail
%y = Elementwise(x, r)              ->  Pass(x, residual=r)
%y = Pad(x), Slice(x) in space      ->  Pass(x) with pads, negative where they crop, and stride
%y = Pad(x), Slice(x) of channels   ->  Conv(x, w) with one tap, w being rows of the unit matrix
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import (
    Activate,
    Channels,
    Concat,
    Conv,
    Depthwise,
    Elementwise,
    Pad,
    Pads,
    Pair,
    Pass,
    Pool,
    Scale,
    Slice,
    Tail,
)


def lower_layers(graph: Graph) -> Graph:
    """The graph in layers and concatenations only."""
    constants: dict[str, Constant] = dict(graph.constants)
    return graph.with_nodes([_lower(graph, node, constants) for node in graph.nodes], constants)


def _lower(graph: Graph, node: Node, constants: dict[str, Constant]) -> Node:
    x = node.inputs
    match node.op:
        case Conv(groups=1) | Concat() | Channels() | Depthwise() | Pass():
            return node
        case Conv():
            return _lower_grouped(graph, node, constants)
        case Scale():
            constants[f"{node.name}.weight"] = graph.array(x["scale"]).reshape(-1, 1, 1, 1)
            inputs = {"x": x["x"], "weight": f"{node.name}.weight", "bias": x["bias"]}
            return replace(node, op=Depthwise(kernel=(1, 1)), inputs=inputs)
        case Activate():
            return replace(node, op=Pass(tail=Tail(activation=node.op.activation)))
        case Pool():
            return replace(node, op=Pass(tail=Tail(pool=node.op.window)))
        case Elementwise():
            return replace(node, op=Pass(tail=Tail(residual=node.op.operation)))
        case Pad(mode="zero", value=0.0):
            start = -node.op.channels[0]
            return _select(graph, node, (start, 1), (1, 1), node.op.pads, constants)
        case Pad():
            return replace(node, op=Pass(pads=node.op.pads, pad_mode=node.op.mode, pad_value=node.op.value))
        case Slice():
            _, height, width = graph.value(x["x"]).shape
            crop = (
                -node.op.start[1],
                -node.op.start[2],
                _last(node, 1) + 1 - height,
                _last(node, 2) + 1 - width,
            )
            stride = (node.op.step[1], node.op.step[2])
            return _select(graph, node, (node.op.start[0], node.op.step[0]), stride, crop, constants)


def _last(node: Node, axis: int) -> int:
    """The last index that a slice takes along an axis."""
    assert isinstance(node.op, Slice)
    return node.op.start[axis] + (node.output.shape[axis] - 1) * node.op.step[axis]


def _lower_grouped(graph: Graph, node: Node, constants: dict[str, Constant]) -> Node:
    assert isinstance(node.op, Conv)
    weight = graph.array(node.inputs["weight"])
    channels = graph.value(node.inputs["x"]).shape[0]
    if node.op.groups == channels == len(weight):
        shared = {f.name: getattr(node.op, f.name) for f in fields(Depthwise)}
        return replace(node, op=Depthwise(**shared))
    constants[f"{node.name}.weight"] = block_diagonal(weight, node.op.groups)
    inputs = {**node.inputs, "weight": f"{node.name}.weight"}
    return replace(node, op=replace(node.op, groups=1), inputs=inputs)


def block_diagonal(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """Weights [outputs, inputs / groups, ...] of a grouped convolution as those of an ordinary one, mostly zero."""
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _select(graph: Graph, node: Node, channels: Pair, stride: Pair, pads: Pads, constants: dict[str, Constant]) -> Node:
    """Every `channels[1]`-th channel from `channels[0]` on (zero outside the map), at some positions."""
    inputs, outputs = graph.value(node.inputs["x"]).shape[0], node.output.shape[0]
    start, step = channels
    if (start, step) == (0, 1) and inputs == outputs:
        return replace(node, op=Pass(stride=stride, pads=pads))
    name = f"{node.name}.selection"
    constants[name] = selection(np.arange(outputs) * step + start, inputs)
    return replace(node, op=Conv((1, 1), stride, pads), inputs={**node.inputs, "weight": name})


def selection(channels: NDArray[np.integer], inputs: int) -> NDArray[np.float32]:
    """Weights [len(channels), inputs, 1, 1] that hand the given channels on; a channel outside the map gives zero."""
    ones: NDArray[np.float32] = (channels[:, None] == np.arange(inputs)).astype(np.float32)
    return ones[:, :, None, None]
