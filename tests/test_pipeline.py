"""The stages in order: what happens where a pass leaves an invalid graph."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bfpc.ir.graph import Graph, GraphError
from bfpc.pipeline import Dump, run_passes
from tests.passes.checks import graph_of

NETWORK = """\
input "x" = %x (N, C, H, W) : 4x8x8
%y = Pass(x=%x) {stride=(2, 2)} : 4x4x4
output "y" = %y (N, C, H, W)
"""


def forget_the_stride(graph: Graph) -> Graph:
    [node] = graph.nodes
    return graph.with_nodes([replace(node, output=replace(node.output, shape=(4, 8, 8)))])


def test_an_invalid_graph_is_reported_with_the_pass_and_the_graph() -> None:
    with pytest.raises(GraphError, match=r"its operator makes \(4, 4, 4\)") as failure:
        run_passes(graph_of(NETWORK), {"forget-the-stride": forget_the_stride}, Dump(None))
    [note] = failure.value.__notes__
    assert note.startswith("after forget-the-stride:\ngraph ")
    assert "%y = Pass(x=%x) {stride=(2, 2)} : 4x8x8" in note
