"""Turns every operator into layers of the accelerator; convolutions keep their groups.

%y = Conv(x, w, groups=channels)    ->  Depthwise(x, w)
%y = Conv(x, w), kernel < input_dilation    ->  Conv(x, w with zeros after it), pads as much larger
%y = Scale(x, s, t)                 ->  Depthwise(x, s, bias=t) with one tap
%y = Activate(x), Pool(x)           ->  Pass(x) with that tail
%y = Elementwise(x, r)              ->  Pass(x, residual=r)
%y = Pad(x), Slice(x) in space      ->  Pass(x) with pads, negative where they crop, and stride
%y = Slice(x) of neighbouring channels      ->  Channels(x)
%y = Pad(x), Slice(x) of other channels     ->  Conv(x, w) with one tap, w being rows of the unit matrix
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import (
    Activate,
    Channels,
    Concat,
    Conv,
    Depthwise,
    Elementwise,
    Layer,
    Pad,
    Pass,
    Pool,
    Scale,
    Slice,
    Tail,
)
from bfpc.ir.shapes import output_shape
from bfpc.passes.selections import selection


def lower_layers(graph: Graph) -> Graph:
    """The graph in layers, concatenations and views of channels only."""
    constants: dict[str, Constant] = dict(graph.constants)
    return graph.with_nodes([layer for node in graph.nodes for layer in _lower(graph, node, constants)], constants)


def _lower(graph: Graph, node: Node, constants: dict[str, Constant]) -> list[Node]:
    x = node.inputs
    match node.op:
        case Concat() | Channels() | Depthwise() | Pass():
            return [node]
        case Conv():
            return [_lower_convolution(graph, node, node.op, constants)]
        case Scale():
            constants[f"{node.name}.weight"] = graph.array(x["scale"]).reshape(-1, 1, 1, 1)
            inputs = {"x": x["x"], "weight": f"{node.name}.weight", "bias": x["bias"]}
            return [replace(node, op=Depthwise(kernel=(1, 1)), inputs=inputs)]
        case Activate():
            return [replace(node, op=Pass(tail=Tail(activation=node.op.activation)))]
        case Pool():
            return [replace(node, op=Pass(tail=Tail(pool=node.op.window)))]
        case Elementwise():
            return [replace(node, op=Pass(tail=Tail(residual=node.op.operation)))]
        case Pad():
            layer = Pass(pads=node.op.pads, pad_mode=node.op.mode, pad_value=node.op.value)
            channels = np.arange(node.output.shape[0]) - node.op.channels[0]
            return _select(graph, node, layer, channels, constants)
        case Slice():
            channels = np.arange(node.output.shape[0]) * node.op.step[0] + node.op.start[0]
            return _select(graph, node, _crop(graph, node), channels, constants)


def _lower_convolution(graph: Graph, node: Node, op: Conv, constants: dict[str, Constant]) -> Node:
    """A kernel is made at least as large as the dilation of the input."""
    below, right = (max(0, step - taps) for step, taps in zip(op.input_dilation, op.kernel, strict=True))
    if below or right:
        name = f"{node.name}.widened_weight"
        constants[name] = np.pad(graph.array(node.inputs["weight"]), ((0, 0), (0, 0), (0, below), (0, right)))
        pads = (op.pads[0], op.pads[1], op.pads[2] + below, op.pads[3] + right)
        op = replace(op, kernel=(op.kernel[0] + below, op.kernel[1] + right), pads=pads)
        node = replace(node, inputs={**node.inputs, "weight": name})
    if op.groups == graph.value(node.inputs["x"]).shape[0] == node.output.shape[0]:
        return replace(node, op=op.depthwise())
    return replace(node, op=op)


def _crop(graph: Graph, node: Node) -> Pass:
    """The rows and columns that a slice takes."""
    assert isinstance(node.op, Slice)
    _, height, width = graph.value(node.inputs["x"]).shape
    start, step, size = node.op.start[1:], node.op.step[1:], node.output.shape[1:]
    last = [first + (count - 1) * stride for first, count, stride in zip(start, size, step, strict=True)]
    return Pass(stride=(step[0], step[1]), pads=(-start[0], -start[1], last[0] + 1 - height, last[1] + 1 - width))


def _select(
    graph: Graph, node: Node, layer: Pass, channels: NDArray[np.integer], constants: dict[str, Constant]
) -> list[Node]:
    """The channels with these numbers, zeros for those outside the map, at the positions that `layer` takes."""
    inputs = graph.value(node.inputs["x"]).shape[0]
    first, last = int(channels[0]), int(channels[-1])
    if np.array_equal(channels, np.arange(inputs)):
        return [replace(node, op=layer)]
    if first >= 0 and last < inputs and last - first == len(channels) - 1:
        return _chain(graph, node, [(Channels(first, last + 1), {}), (layer, {})])
    name = f"{node.name}.selection"
    constants[name] = selection(channels, inputs)
    return _chain(graph, node, [(layer, {}), (Conv((1, 1)), {"weight": name})])


def _chain(graph: Graph, node: Node, parts: list[tuple[Layer | Channels, dict[str, str]]]) -> list[Node]:
    """Nodes of these operators, with their constants, one after another; the last stands for `node`."""
    parts = [part for part in parts if part[0] != Pass()]
    nodes: list[Node] = []
    x, shape = node.inputs["x"], graph.value(node.inputs["x"]).shape
    for op, parameters in parts:
        roles = {"x": shape, **({"weight": (node.output.shape[0], shape[0])} if parameters else {})}
        shape = output_shape(op, roles)
        output = node.output if op is parts[-1][0] else Value(f"{node.name}.{type(op).__name__.lower()}", shape)
        nodes.append(Node(op, {"x": x, **parameters}, output))
        x = output.name
    return nodes
