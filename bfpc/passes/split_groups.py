"""Makes ordinary convolutions of grouped ones: of slices of the channels that fill whole channel groups, or of all.

%y = Conv(x, w, groups=8), 32 channels to 32 for each
->  %y.x0 = Conv(channels 0..63 of x, block-diagonal w); ...; %y = Concat(%y.x0, ...)

%y = Conv(x, w, groups=channels), m outputs for each
->  %y.repeated = Conv(x, every channel m times); %y = Depthwise(%y.repeated, w)

The slices are those with which the array multiplies by the fewest zeros, the widest of them.
"""

from __future__ import annotations

from dataclasses import replace
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.config import ArraySize
from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Concat, Conv
from bfpc.passes.layer_parts import layer_part, slices
from bfpc.passes.selections import selection


def split_groups(graph: Graph, array: ArraySize) -> Graph:
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node.op, Conv) and node.op.groups > 1:
            nodes += _split(graph, node, node.op, array, constants)
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, constants)


def _split(graph: Graph, node: Node, op: Conv, array: ArraySize, constants: dict[str, Constant]) -> list[Node]:
    weight = graph.array(node.inputs["weight"])
    if weight.shape[1] == 1:
        return _repeated(graph, node, op, constants)
    count = best_slice(op.groups, weight.shape[1], len(weight) // op.groups, array)
    if count == op.groups:
        return [_dense(node, op, weight, constants)]
    return _sliced(graph, node, op, count, constants)


def _dense(node: Node, op: Conv, weight: NDArray[Any], constants: dict[str, Constant]) -> Node:
    """The convolution without groups; weight: with them."""
    name = f"{node.name}.dense_weight"
    constants[name] = block_diagonal(weight, op.groups)
    return replace(node, op=replace(op, groups=1), inputs={**node.inputs, "weight": name})


def best_slice(groups: int, inputs: int, outputs: int, array: ArraySize) -> int:
    """How many groups to take together: the fewest multiplications, then the fewest slices.

    inputs, outputs: channels of a group. Slices begin and end with whole channel groups of both maps, or take all.
    """
    step: int = lcm(*(lcm(array.k_vec, channels) // channels for channels in (inputs, outputs)))
    candidates = [*range(step, groups, step), groups]

    def vectors(count: int) -> int:
        """Vectors of c_vec weights for one output channel of each group."""
        slices = [min(count, groups - start) for start in range(0, groups, count)]
        return sum(-(-size * inputs // array.c_vec) * size for size in slices)

    best: int = min(candidates, key=lambda count: (vectors(count), -count))
    return best


def _sliced(graph: Graph, node: Node, op: Conv, count: int, constants: dict[str, Constant]) -> list[Node]:
    """The convolutions of `count` groups each, with views of what they read, and their concatenation."""
    nodes: list[Node] = []
    parts: dict[str, str] = {}
    sizes = [graph.value(node.inputs["x"]).shape[0] // op.groups, node.output.shape[0] // op.groups]
    for groups in slices(op.groups, count):
        read, made = (slice(groups.start * size, groups.stop * size) for size in sizes)
        *views, part = layer_part(graph, node, f"{node.name}.x{len(parts)}", (read, made), constants)
        weight = np.asarray(constants[part.inputs["weight"]])
        nodes += [*views, _dense(part, replace(op, groups=groups.stop - groups.start), weight, constants)]
        parts[f"x{len(parts)}"] = part.name
    return [*nodes, Node(Concat(), parts, node.output)]


def block_diagonal(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """Weights [outputs, inputs / groups, ...] of a grouped convolution as those of an ordinary one, mostly zero."""
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], inputs * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _repeated(graph: Graph, node: Node, op: Conv, constants: dict[str, Constant]) -> list[Node]:
    """A depthwise convolution of the map with each of its channels as often as there are filters for it."""
    inputs, outputs = graph.value(node.inputs["x"]).shape[0], node.output.shape[0]
    weight, name = f"{node.name}.selection", f"{node.name}.repeated"
    constants[weight] = selection(np.arange(outputs) // (outputs // inputs), inputs)
    shape = (outputs, *graph.value(node.inputs["x"]).shape[1:])
    repeated = Node(Conv((1, 1)), {"x": node.inputs["x"], "weight": weight}, Value(name, shape))
    return [repeated, replace(node, op=op.depthwise(), inputs={**node.inputs, "x": name})]
