"""Merges convolutions that only choose channels with the layers around them, where that costs less.

    %s = Conv(x, ones in place); %y = Conv(%s, w)       ->  %y = Conv(x, w with its input channels rearranged)
    %a = Conv(x, w); %y = Conv(%a, ones in place)       ->  %y = Conv(x, w with its output channels rearranged)
    %s = Conv(x, ones in place); %y = Depthwise(%s, w)
    ->  %y.before = Depthwise(x, w rearranged); %y = Conv(%y.before, ones in place)

The last, likewise with a Pass, gives the next layer the chance of the first. So do channel shuffles cost nothing next
to convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.config import ArraySize
from bfpc.ir.graph import Constant, Graph, Node, Shape, Value
from bfpc.ir.operators import Clip, Conv, Depthwise, Pass, Table, Tail
from bfpc.ir.shapes import array_size
from bfpc.numerics.functions import apply_steps
from bfpc.passes.layer_parts import PER_CHANNEL
from bfpc.passes.selections import NOTHING, selected_channels, selection

MAX_GROWTH = 1.5  # of the channels that a Depthwise or Pass computes, when it comes before its selection
Chosen = NDArray[np.integer]


def compose_selections(graph: Graph, array: ArraySize) -> Graph:
    readers = {name: len(users) + (name in graph.output_names) for name, users in graph.consumers().items()}
    work = _Work(graph, array, readers, dict(graph.constants), {})
    for node in graph.nodes:
        work.nodes.update((made.name, made) for made in _composed(work, node))
    return graph.with_nodes(work.nodes.values(), work.constants)


@dataclass(frozen=True)
class _Work:
    """The pass under way. readers: how many each value has, the network's outputs among them."""

    graph: Graph
    size: ArraySize
    readers: dict[str, int]
    constants: dict[str, Constant]
    nodes: dict[str, Node]

    def shape(self, name: str) -> Shape:
        return self.nodes[name].output.shape if name in self.nodes else self.graph.value(name).shape

    def array(self, node: Node, role: str) -> NDArray[Any]:
        constant = self.constants[node.inputs[role]]
        assert isinstance(constant, np.ndarray), f"{node.name} is quantized"
        return constant

    def replaced(self, node: Node, arrays: Mapping[str, NDArray[Any]]) -> Node:
        """`node` with other constants in these roles."""
        names = {role: f"{node.name}.composed_{role}" for role in arrays}
        self.constants.update((names[role], array) for role, array in arrays.items())
        return replace(node, inputs={**node.inputs, **names})

    def bypass(self, source: Node) -> str:
        """What a selection reads, for a layer that reads it in its place."""
        x = source.inputs["x"]
        self.readers[x] += self.readers[source.name] > 1
        return x

    def cost(self, node: Node, weight: tuple[int, ...] | None = None) -> int:
        """Cycles of a convolution on the array, with weights of this shape instead of its own."""
        outputs, inputs, *taps = weight or self.array(node, "weight").shape
        positions = array_size(node.layer, self.shape(node.inputs["x"])[1:])
        return -(-outputs // self.size.k_vec) * -(-inputs // self.size.c_vec) * prod(taps) * prod(positions)


def _composed(work: _Work, node: Node) -> list[Node]:
    """What stands for `node`."""
    source = work.nodes.get(node.inputs.get("x", ""))
    chosen = None if source is None else selected_channels(work.constants, source)
    if source is not None and chosen is not None:
        if isinstance(node.op, Conv) and node.op.groups == 1:
            node = _read_through(work, source, chosen, node)
        elif isinstance(node.op, Depthwise | Pass) and _commutes(work, source, chosen, node):
            return _exchanged(work, source, chosen, node)
    return [_merged(work, node)]


def _read_through(work: _Work, source: Node, chosen: Chosen, node: Node) -> Node:
    """A convolution that reads what the selection `source` reads, if that is cheaper."""
    weight, inputs = work.array(node, "weight"), work.shape(source.inputs["x"])[0]
    saved = work.cost(source) // work.readers[source.name]  # if the others do the same
    if work.cost(node, (len(weight), inputs, *weight.shape[2:])) > work.cost(node) + saved:
        return node
    spread = np.einsum("oihw,ix->oxhw", weight, selection(chosen, inputs)[:, :, 0, 0])
    return work.replaced(replace(node, inputs={**node.inputs, "x": work.bypass(source)}), {"weight": spread})


def _merged(work: _Work, node: Node) -> Node:
    """A selection, with its tail, done by the convolution before it, if nothing else reads that and it is cheaper."""
    source, chosen = work.nodes.get(node.inputs.get("x", "")), selected_channels(work.constants, _without_tail(node))
    if chosen is None or source is None or work.readers[source.name] > 1 or not _takes(source, node, chosen):
        return node
    weight = work.array(source, "weight")
    if work.cost(source, (len(chosen), *weight.shape[1:])) > work.cost(source) + work.cost(node):
        return node
    roles = [role for role in PER_CHANNEL if role in source.inputs]
    arrays = {role: _rows(work.array(source, role), chosen) for role in roles}
    tail = node.layer.tail if source.layer.tail == Tail() else source.layer.tail
    inputs = {**node.inputs, **source.inputs}
    return work.replaced(
        replace(source, op=replace(source.layer, tail=tail), inputs=inputs, output=node.output), arrays
    )


def _without_tail(node: Node) -> Node:
    if not isinstance(node.op, Conv):
        return node
    inputs = {role: name for role, name in node.inputs.items() if role in ("x", "weight", "bias")}
    return replace(node, op=replace(node.op, tail=Tail()), inputs=inputs)


def _takes(source: Node, node: Node, chosen: Chosen) -> bool:
    """Whether `source` is a convolution that can make its channels in another order, and do the selection's tail."""
    if not isinstance(source.op, Conv) or source.op.groups > 1 or "residual" in source.inputs:
        return False
    if source.op.tail != Tail() and (node.layer.tail != Tail() or "residual" in node.inputs):
        return False
    return bool((chosen != NOTHING).all()) or _keeps_zero(source.op.tail)


def _keeps_zero(tail: Tail) -> bool:
    """Whether a channel of zeros stays one."""
    match tail.activation:
        case Clip(low, high):
            return low <= 0 <= high
        case Table(steps, gated):
            return bool(apply_steps(steps, np.zeros(1), gated=gated)[0] == 0)
    return True


def _rows(array: NDArray[Any], chosen: Chosen) -> NDArray[Any]:
    """array[chosen] with zeros for NOTHING."""
    rows = array[chosen]
    rows[chosen == NOTHING] = 0
    return rows


def _commutes(work: _Work, source: Node, chosen: Chosen, node: Node) -> bool:
    """Whether a layer that treats each channel by itself can come before the selection: each channel at most once."""
    if "residual" in node.inputs or (chosen == NOTHING).any() or len(np.unique(chosen)) < len(chosen):
        return False
    return work.shape(source.inputs["x"])[0] <= MAX_GROWTH * len(chosen)


def _exchanged(work: _Work, source: Node, chosen: Chosen, node: Node) -> list[Node]:
    """The layer first, then the selection."""
    channels = work.shape(source.inputs["x"])[0]
    arrays: dict[str, NDArray[Any]] = {}
    for role in PER_CHANNEL:
        if role in node.inputs:
            array = work.array(node, role)
            arrays[role] = np.zeros((channels, *array.shape[1:]), array.dtype)
            arrays[role][chosen] = array
    before = Value(f"{node.name}.before_selection", (channels, *node.output.shape[1:]))
    layer = replace(node, inputs={**node.inputs, "x": work.bypass(source)}, output=before)
    weight = f"{node.name}.selection"
    work.constants[weight] = selection(chosen, channels)
    work.readers[before.name] = 1
    return [work.replaced(layer, arrays), Node(Conv((1, 1)), {"x": before.name, "weight": weight}, node.output)]
