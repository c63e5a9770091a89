"""The memory plan: maps that live together never overlap, and joined maps are where their join expects them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfpc.backend.memory_plan import feature_layout, plan_memory
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Concat
from tests.backend.graphs import Draft, small_network

GROUP = 32


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Random chains with skips and joins."""
    draft = Draft()
    maps = [draft.input(f"image{i}", (32, 4, 4)) for i in range(draw(st.integers(1, 2)))]
    for index in range(draw(st.integers(1, 10))):
        x = draw(st.sampled_from(maps))
        if draw(st.booleans()):
            left = draft.conv(f"left{index}", x, 32)
            right = draft.conv(f"right{index}", draw(st.sampled_from(maps)), 48)
            maps.append(draft.add(f"join{index}", Concat(), {"x0": left, "x1": right}))
        else:
            maps.append(draft.conv(f"conv{index}", x, draw(st.sampled_from([8, 32, 64]))))
    outputs = [node.name for node in draft.nodes]
    return draft.graph(*draw(st.lists(st.sampled_from(outputs), min_size=1, max_size=2, unique=True)))


def _lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
    """For every map the first and last node at which its content matters; a joined map matters from its first part."""
    lives = {}
    for name in [value.name for value in graph.values] + [node.name for node in graph.nodes]:
        first = next((i for i, node in enumerate(graph.nodes) if node.name == name), -1)
        readers = [i for i, node in enumerate(graph.nodes) if name in node.inputs.values()]
        last = len(graph.nodes) if name in graph.output_names else max(readers, default=first)
        lives[name] = (first, last)
    return lives


def _joins(graph: Graph, name: str) -> set[str]:
    """The map, and those that it is joined into."""
    found = {name}
    for node in graph.nodes:
        if isinstance(node.op, Concat) and found & set(node.inputs.values()):
            found.add(node.name)
    return found


@settings(max_examples=80, deadline=None)
@given(networks())
def test_live_maps_do_not_overlap(graph: Graph) -> None:
    plan = plan_memory(graph, GROUP)
    lives = _lifetimes(graph)
    for one in lives:
        for other in lives:
            related = _joins(graph, one) & _joins(graph, other) & {one, other}
            together = lives[one][0] <= lives[other][1] and lives[other][0] <= lives[one][1]
            if one != other and together and not related:
                first, second = (plan.addresses[name] for name in (one, other))
                sizes = [feature_layout(graph, name, GROUP).words for name in (one, other)]
                assert first + sizes[0] <= second or second + sizes[1] <= first, (one, other)


@settings(max_examples=40, deadline=None)
@given(networks())
def test_parts_lie_in_their_groups_of_the_joined_map(graph: Graph) -> None:
    plan = plan_memory(graph, GROUP)
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            layout, channels = feature_layout(graph, node.name, GROUP), 0
            for name in node.inputs.values():
                groups = sum(layout.group_words(group) for group in range(channels // GROUP))
                assert plan.addresses[name] == plan.addresses[node.name] + groups
                channels += graph.value(name).shape[0]


def test_inputs_lie_at_the_start_in_order() -> None:
    draft = Draft()
    first, second = draft.input("first", (16, 4, 4)), draft.input("second", (16, 4, 4))
    graph = draft.graph(draft.conv("a", first, 32), draft.conv("b", second, 32))
    plan = plan_memory(graph, GROUP)
    words = feature_layout(graph, first, GROUP).words
    assert (plan.addresses[first], plan.addresses[second], plan.input_words) == (0, words, 2 * words)


def test_memory_is_reused() -> None:
    draft = Draft()
    x = draft.input("image", (32, 8, 8))
    for index in range(10):
        x = draft.conv(f"conv{index}", x, 32)
    graph = draft.graph(x)
    assert plan_memory(graph, GROUP).words == 2 * feature_layout(graph, x, GROUP).words


def test_nested_joins_share_the_outermost_buffer() -> None:
    draft = Draft()
    x = draft.input("image", (32, 4, 4))
    parts = [draft.conv(name, x, 32) for name in ("a", "b", "c")]
    inner = draft.add("inner", Concat(), {"x0": parts[1], "x1": parts[2]})
    outer = draft.add("outer", Concat(), {"x0": parts[0], "x1": inner})
    graph = draft.graph(draft.conv("end", outer, 8))
    addresses = plan_memory(graph, GROUP).addresses
    plane = feature_layout(graph, "a", GROUP).words
    assert [addresses[name] - addresses["outer"] for name in ("a", "b", "inner", "c")] == [0, plane, plane, 2 * plane]


def test_joined_maps_must_fill_whole_groups() -> None:
    draft = Draft()
    x = draft.input("image", (32, 4, 4))
    left, right = draft.conv("left", x, 48), draft.conv("right", x, 32)
    graph = draft.graph(draft.add("joined", Concat(), {"x0": left, "x1": right}))
    with pytest.raises(CapacityError, match="48, 32 channels") as refusal:
        plan_memory(graph, GROUP)
    assert refusal.value.where == "joined"
    assert "16" in refusal.value.fix


def test_outputs_of_the_small_network_survive_to_the_end() -> None:
    graph = small_network()
    plan = plan_memory(graph, GROUP)
    assert plan.words < sum(feature_layout(graph, name, GROUP).words for name in plan.addresses)
