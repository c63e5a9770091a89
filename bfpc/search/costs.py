"""What formats cost: bits of the weights, memory traffic, cycles, or logic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bfpc.backend.weight_stream import ParameterLayout
from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv
from bfpc.numerics.format import BfpFormat
from bfpc.search.choice import Numbers
from bfpc.search.decisions import Decision


def weight_bits(node: Node, shape: tuple[int, ...], format: BfpFormat) -> int:
    """Bits of a layer's weights in the weight memory, mantissas and exponents.

    shape: [output channels, input channels, kernel height, kernel width].
    """
    channels, inputs, height, width = shape
    whole = (channels, inputs, height, width)
    return channels * ParameterLayout(channels, format, whole, isinstance(node.op, Conv), 0, False, 0, 0).weight_bits


def option_costs(graph: Graph, config: Config, decisions: Sequence[Decision]) -> tuple[Numbers, ...]:
    """For each decision what each of its options costs."""
    return tuple(_weight_bits(graph, decision) for decision in decisions)


def _weight_bits(graph: Graph, decision: Decision) -> Numbers:
    costs = np.zeros(len(decision.options))
    if decision.kind == "weight":
        nodes = [node for node in graph.nodes if node.name in decision.members]
        shape = graph.array(nodes[0].inputs["weight"]).shape
        for index, option in enumerate(decision.options):
            costs[index] = sum(weight_bits(node, shape, option.stored[0]) for node in nodes)
    return costs


def network_cost(graph: Graph) -> float:
    """What a quantized network costs."""
    weights = ((node, graph.weight(node)) for node in graph.layers)
    return float(sum(weight_bits(node, w.mantissas.shape, w.format) for node, w in weights if w is not None))
