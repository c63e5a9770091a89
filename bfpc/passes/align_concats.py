"""Lets every part of a concatenation begin with a whole channel group, as the memory needs it.

    %y = Concat(a, b), a of 58 channels
    ->  %y.x0 = Conv(a, ones in place) : 64 channels, the last six zero
        %y.aligned = Concat(%y.x0, b)
        %y = Conv(%y.aligned, ones in place), which leaves the zeros out

`compose_selections` then merges these convolutions with those around them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node, Value
from bfpc.ir.operators import Concat, Conv
from bfpc.passes.selections import NOTHING, selection


def align_concats(graph: Graph, group: int) -> Graph:
    """group: channels of a group of the feature memory."""
    constants: dict[str, Constant] = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        sizes = [graph.value(name).shape[0] for name in node.inputs.values()] if isinstance(node.op, Concat) else []
        if any(size % group for size in sizes[:-1]):
            nodes += _aligned(graph, node, sizes, group, constants)
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, constants)


def _aligned(graph: Graph, node: Node, sizes: list[int], group: int, constants: dict[str, Constant]) -> list[Node]:
    nodes: list[Node] = []
    inputs: dict[str, str] = {}
    kept: list[NDArray[np.integer]] = []
    start, positions = 0, node.output.shape[1:]
    for size, (role, name) in zip(sizes, node.inputs.items(), strict=True):
        whole = size if len(inputs) == len(sizes) - 1 else -(-size // group) * group
        inputs[role] = name
        if whole > size:
            channels = np.where(np.arange(whole) < size, np.arange(whole), NOTHING)
            part = Value(f"{node.name}.{role}", (whole, *positions))
            nodes.append(_selecting(name, channels, size, part, constants))
            inputs[role] = part.name
        kept.append(np.arange(start, start + size))
        start += whole
    aligned = Value(f"{node.name}.aligned", (start, *positions))
    nodes.append(Node(Concat(), inputs, aligned))
    nodes.append(_selecting(aligned.name, np.concatenate(kept), start, node.output, constants))
    return nodes


def _selecting(
    x: str, channels: NDArray[np.integer], inputs: int, output: Value, constants: dict[str, Constant]
) -> Node:
    weight = f"{output.name}.selection"
    constants[weight] = selection(channels, inputs)
    return Node(Conv((1, 1)), {"x": x, "weight": weight}, output)
