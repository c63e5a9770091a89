"""What a graph must be so that an accelerator can compute it."""

from __future__ import annotations

import dataclasses

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor

MAX_EXPONENT = 512  # float32 has fewer octaves


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


def _largest(field: str) -> int:
    """The largest magnitude of an integer parameter: exponents and shifts are far below those of float64."""
    return MAX_EXPONENT if field.endswith(("_exponent", "_shift", "_bits")) else 1 << 62


def _check_format(name: str, format: BfpFormat | None) -> None:
    if format is None or format.block_size not in BLOCK_SIZES or abs(format.exponent) > MAX_EXPONENT:
        raise ValueError(f"{name} has no format that a map can have")


def _check_layer(graph: Graph, node: Node) -> None:
    if node.arithmetic is None:
        raise ValueError(f"{node.name} has no integer parameters")
    for field in dataclasses.fields(node.arithmetic):
        value, most = getattr(node.arithmetic, field.name), _largest(field.name)
        if not (value is None or (isinstance(value, int) and abs(value) <= most)):
            raise ValueError(f"{field.name} of {node.name} is {value}")
    for role in {"bias", "slope", "table", "weight"} & node.inputs.keys():
        if (role == "weight") != isinstance(graph.constants.get(node.inputs[role]), BfpTensor):
            raise ValueError(f"{node.name} has a {role} of another kind")
