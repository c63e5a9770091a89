"""The drawing of a network: boxes in order, every map one way, and no two ways of a lane beside each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bfpc.report.network_view import _in_lanes, view_network
from tests.backend.graphs import resnet50, small_network

pairs = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def test_layers_stand_in_the_order_in_which_they_run() -> None:
    graph = resnet50()
    view = view_network(graph, (), [port.name for port in graph.outputs])
    assert [box.layer for box in view.boxes if box.kind == "accelerator"] == [node.name for node in graph.layers]
    assert [box.kind for box in view.boxes][0 :: len(view.boxes) - 1] == ["input", "output"]


def test_a_way_for_each_map_that_a_layer_reads() -> None:
    graph = small_network()
    view = view_network(graph, (), [port.name for port in graph.outputs])
    names = [box.name for box in view.boxes]
    ways = {(names[way.start], names[way.end]) for way in view.ways}
    for node in graph.layers:
        for name in node.inputs.values():
            producer = graph.producer(name)
            if producer is not None and producer.name in names:
                assert (producer.name, node.name) in ways


@given(st.sets(pairs, max_size=20))
def test_ways_of_a_lane_begin_together_or_keep_apart(drawn: set[tuple[int, int]]) -> None:
    ways = list(_in_lanes(drawn))
    assert {(way.start, way.end) for way in ways} == drawn
    assert all((way.lane == 0) == (way.end == way.start + 1) for way in ways)
    for way in ways:
        for other in ways:
            if way.lane == other.lane > 0 and way != other:
                assert way.start == other.start or way.end <= other.start or other.end <= way.start
