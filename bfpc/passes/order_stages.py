"""Puts the nodes in the order of the accelerator's stages, so that each stage is one run of layers of the program.

%a = Conv(x=%x), stage 0                          %a = Conv(x=%x)
%b = Conv(x=%host), stage 1           ->          %c = Conv(x=%a)
%c = Conv(x=%a), stage 0                          %b = Conv(x=%host)
"""

from __future__ import annotations

from dataclasses import replace

from bfpc.ir.graph import Graph


def order_stages(graph: Graph) -> Graph:
    """The same nodes; those of one stage keep their order."""
    stages = graph.stages
    return replace(graph, nodes=tuple(sorted(graph.nodes, key=lambda node: stages[node.name])))
