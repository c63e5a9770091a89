"""Graphs cut into stages: each node runs once, and reads what is there by then."""

from __future__ import annotations

from bfpc.ir.graph import Graph
from bfpc.ir.stages import crossing_layers, stage_count, stage_graph, stored_parts
from bfpc.ir.text import parse_graph

TEXT = """\
graph "network"
input "image" = %image (N, C, H, W) : 16x4x4
input "sorted" = %sorted (N, C, H, W) : 16x4x4 stage(1)
%first = Pass(x=%image) : 16x4x4
%inner = Pass(x=%first) : 16x4x4
%last_of_stage = Pass(x=%inner) : 16x4x4
%second = Pass(x=%sorted, residual=%first) : 16x4x4
%both = Concat(x0=%second, x1=%last_of_stage) : 32x4x4
%half = Channels(x=%both) {start=16, stop=32} : 16x4x4
%end = Pass(x=%half) : 16x4x4
output "end" = %end (N, C, H, W)
output "joined" = %both (N, C, H, W)
output "first" = %first (N, C, H, W)
"""


def network() -> Graph:
    return parse_graph(TEXT, {}).check()


def test_every_node_runs_in_one_stage_and_reads_what_was_made_before() -> None:
    graph = network()
    parts = [stage_graph(graph, stage) for stage in range(stage_count(graph))]
    assert [[node.name for node in part.nodes] for part in parts] == [
        ["first", "inner", "last_of_stage"],
        ["second", "both", "half", "end"],
    ]
    assert [[value.name for value in part.values] for part in parts] == [
        ["image"],
        ["sorted", "first", "last_of_stage"],
    ]
    assert [[port.name for port in part.outputs] for part in parts] == [["first"], ["end", "joined"]]
    for part in parts:
        part.check()


def test_layers_that_others_read_cross() -> None:
    assert crossing_layers(network()) == {"first", "last_of_stage", "second", "end"}


def test_joined_maps_lie_in_their_parts() -> None:
    assert list(stored_parts(network(), "both")) == ["second", "last_of_stage"]
    assert list(stored_parts(network(), "sorted")) == ["sorted"]
