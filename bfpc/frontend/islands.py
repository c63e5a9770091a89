"""Finds what isn't worth moving tensors between the host and the accelerator for.

An island is a set of connected operators within one stage of the accelerator that exchanges tensors with the host and
does less than 1 % of the accelerator's multiplications. The host computes it in less time than the crossing takes, and
without it host segments often become one.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx_ir

from bfpc.frontend.classification import Classification
from bfpc.frontend.segments import operands
from bfpc.frontend.unsupported import Unsupported, refuse_island
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv

ISLAND = 0.01  # of the accelerator's multiplications
ELEMENT_BYTES = 4  # float32 on the host


def find_islands(graph: Graph, found: Classification) -> dict[onnx_ir.Node, Unsupported]:
    """The nodes to leave to the host, and why; never all that the accelerator has."""
    made_by_host = {str(value.name) for node in found.host for value in node.outputs} - found.origins.keys()
    read_by_host = {str(value.name) for node in found.host for value in operands(node)}
    leaving = {port.value for port in graph.outputs if port.name in read_by_host}
    work = {node.name: _multiplications(graph, node) for node in graph.nodes}
    groups = _connected(graph, made_by_host)
    islands: dict[onnx_ir.Node, Unsupported] = {}
    for group in groups:
        share = sum(work[node.name] for node in group) / max(sum(work.values()), 1)
        read = {name for node in group for name in node.inputs.values()}
        crossing = (read & made_by_host) | (leaving & {node.name for node in group})
        if crossing and share < ISLAND and any(work.values()):
            nodes = {found.origins[node.name] for node in group}
            size = sum(ELEMENT_BYTES * math.prod(graph.value(name).shape) for name in crossing)
            islands |= dict.fromkeys(nodes, refuse_island(len(nodes), share, size))
    remain = {found.origins[node.name] for node in graph.nodes} - islands.keys()
    return islands if remain else {}


def _connected(graph: Graph, made_by_host: Collection[str]) -> list[list[Node]]:
    """The nodes in groups that are connected, within a stage, by tensors made in it or by the host."""
    stages, made = graph.stages, {node.name for node in graph.nodes}
    joined: dict[tuple[str, int], tuple[str, int]] = {}

    def group_of(key: tuple[str, int]) -> tuple[str, int]:
        while key in joined:
            key = joined[key]
        return key

    for node in graph.nodes:
        stage = stages[node.name]
        for name in node.inputs.values():
            links = name in made_by_host or (name in made and stages[name] == stage)
            if links and (group := group_of((name, stage))) != (own := group_of((node.name, stage))):
                joined[group] = own
    groups: dict[tuple[str, int], list[Node]] = {}
    for node in graph.nodes:
        groups.setdefault(group_of((node.name, stages[node.name])), []).append(node)
    return list(groups.values())


def _multiplications(graph: Graph, node: Node) -> float:
    if not isinstance(node.op, Conv):
        return 0
    _, height, width = node.output.shape
    return height * width * graph.array(node.inputs["weight"]).size / math.prod(node.op.input_dilation)
