"""What a graph must be so that an accelerator can compute it."""

from __future__ import annotations

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor


def check_quantized(graph: Graph) -> Graph:
    """Returns a well-formed graph itself; raises ValueError where it is not quantized, or has other operators."""
    for name in (*(value.name for value in graph.values), *(node.name for node in graph.nodes)):
        _check_format(name, graph.value(name).format)
    layers = {node.name for node in graph.layers}
    for node in graph.nodes:
        if node.name in layers:
            _check_layer(graph, node)
        elif not isinstance(node.op, Channels | Concat):
            raise ValueError(f"{node.name} is no layer")
    if not layers or not graph.inputs or not graph.outputs:
        raise ValueError("the graph computes nothing")
    return graph


def _check_format(name: str, format: BfpFormat | None) -> None:
    if format is None or format.block_size not in BLOCK_SIZES or abs(format.exponent) > 4096:
        raise ValueError(f"{name} has no format that a map can have")


def _check_layer(graph: Graph, node: Node) -> None:
    if node.arithmetic is None:
        raise ValueError(f"{node.name} has no integer parameters")
    for role in {"bias", "slope", "table", "weight"} & node.inputs.keys():
        if (role == "weight") != isinstance(graph.constants.get(node.inputs[role]), BfpTensor):
            raise ValueError(f"{node.name} has a {role} of another kind")
