"""Lets dense layers hand their maps to the depthwise layers or passes behind them, which then run at the same time.

    %a = Conv(%x) {tail=Tail(activation=Clip(...))}; %y = Depthwise(%a)     ->  the same with streams=True for %a
    %a = Conv(%x) {tail=Tail(activation=Clip(...))}; %y = Pass(%a) {pool}   ->  the same with streams=True for %a

No bit changes: the accelerator computes the map as before, in blocks, but neither stores nor reads it, and the array
is at work while the depthwise windows are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Clip, Conv, Depthwise, Pass, slides_windows

Fits = Callable[[Node, Node], bool]


def stream_maps(graph: Graph, window: int, fits: Fits) -> Graph:
    """Takes a quantized graph.

    window: the side of the largest depthwise filter that takes one cycle. fits: whether the buffers hold a tile of a
    dense layer and of the one behind it.
    """
    readers, stages = graph.consumers(), graph.stages
    streams = {
        node.name
        for node, behind in pairwise(graph.layers)
        if readers[node.name] == [behind]
        and node.name not in graph.output_names
        and stages[node.name] == stages[behind.name]
        and _makes_a_stream(node)
        and _takes_a_stream(behind, window)
        and fits(node, behind)
    }
    return graph.with_nodes(
        replace(node, op=replace(node.op, streams=node.name in streams)) if isinstance(node.op, Conv) else node
        for node in graph.nodes
    )


def _makes_a_stream(node: Node) -> bool:
    """Whether the layer's tail has nothing but a bias and bounds."""
    tail = node.layer.tail
    bounded = tail.activation is None or isinstance(tail.activation, Clip)
    return isinstance(node.op, Conv) and bounded and tail.pool is None and "residual" not in node.inputs


def _takes_a_stream(node: Node, window: int) -> bool:
    """Whether the layer slides windows, each of them of its own output, or takes the map as it is, for its tail."""
    if "residual" in node.inputs:
        return False
    if isinstance(node.op, Pass):
        return window > 1 and node.op == Pass(tail=node.op.tail)
    return isinstance(node.op, Depthwise) and node.op.tail.pool is None and slides_windows(node.op, window)
