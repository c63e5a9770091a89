"""What formats cost: bits of the weights, memory traffic, cycles, or logic."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from bfpc.backend.weight_stream import ParameterLayout
from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv
from bfpc.numerics.format import BfpFormat
from bfpc.search.choice import Numbers
from bfpc.search.decisions import Decision


def weight_bits(node: Node, shape: tuple[int, int, int, int], format: BfpFormat) -> int:
    """Bits of a layer's weights in the weight memory, mantissas and exponents."""
    layout = ParameterLayout(shape[0], format, shape, isinstance(node.op, Conv), 0, False, 0, 0)
    return shape[0] * layout.weight_bits


def option_costs(graph: Graph, config: Config, decisions: Sequence[Decision]) -> tuple[Numbers, ...]:
    """For each decision what each of its options costs."""
    return tuple(_weight_bits(graph, decision) for decision in decisions)


def _weight_bits(graph: Graph, decision: Decision) -> Numbers:
    costs = np.zeros(len(decision.options))
    if decision.kind != "weight":
        return costs
    nodes = {node.name: node for node in graph.nodes}
    for index, option in enumerate(decision.options):
        for member, format in zip(decision.members, option.stored, strict=True):
            shape = graph.array(nodes[member].inputs["weight"]).shape
            assert len(shape) == 4 and prod(shape)
            costs[index] += weight_bits(nodes[member], shape, format)
    return costs


def network_cost(graph: Graph) -> float:
    """What a quantized network costs."""
    weights = [(node, graph.weight(node)) for node in graph.layers]
    return sum(
        weight_bits(node, weight.mantissas.shape, weight.format) for node, weight in weights if weight is not None
    )
