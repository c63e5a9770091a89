"""The memory plan: maps that live together never overlap, and joined maps are where their join expects them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfpc.backend.memory_plan import MemoryPlan, feature_layout, plan_memory
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Channels, Concat
from bfpc.passes.stream_maps import stream_maps
from tests.backend.graphs import Draft, small_network
from tests.backend.layer_kinds import always

GROUP = 32


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Random chains with skips, joins of joins, and views of channels."""
    draft = Draft()
    maps = [draft.input(f"image{i}", (32, 4, 4)) for i in range(draw(st.integers(1, 2)))]
    for index in range(draw(st.integers(1, 10))):
        x = draw(st.sampled_from(maps))
        kind = draw(st.sampled_from(["conv", "join", "nested", "view"]))
        if kind == "conv":
            maps.append(draft.conv(f"conv{index}", x, draw(st.sampled_from([8, 32, 64]))))
        elif kind == "view":
            groups = -(-draft.shape(x)[0] // GROUP)
            start = draw(st.integers(0, groups - 1))
            stop = min(draw(st.integers(start + 1, groups)) * GROUP, draft.shape(x)[0])
            if not any(isinstance(node.op, Channels) and node.name == x for node in draft.nodes):
                maps.append(draft.add(f"view{index}", Channels(start * GROUP, stop), {"x": x}))
        else:
            left = draft.conv(f"left{index}", x, 32)
            right = draft.conv(f"right{index}", draw(st.sampled_from(maps)), 48)
            joined = draft.add(f"join{index}", Concat(), {"x0": left, "x1": right})
            maps.append(joined)
            if kind == "nested":
                maps[-1] = draft.add(
                    f"outer{index}", Concat(), {"x0": draft.conv(f"first{index}", x, 64), "x1": joined}
                )
    outputs = [node.name for node in draft.nodes] or [draft.conv("only", maps[0], 8)]
    return draft.graph(*draw(st.lists(st.sampled_from(outputs), min_size=1, max_size=2, unique=True)))


class Written:
    """What a feature memory holds, word by word, as the layers write it one after the other."""

    def __init__(self, graph: Graph, plan: MemoryPlan) -> None:
        self.graph, self.plan = graph, plan
        self.words: dict[int, tuple[str, int, int]] = {}
        for value in graph.values:
            self.write(value.name)

    def run(self) -> None:
        """Raises AssertionError where a layer, or the host at the end, does not find what it reads."""
        for node in self.graph.nodes:
            if not isinstance(node.op, Concat | Channels):
                for name in (node.inputs[role] for role in ("x", "residual") if role in node.inputs):
                    self.check(name)
                self.write(node.name)
        for name in self.graph.output_names:
            self.check(name)

    def write(self, name: str) -> None:
        for word, content in enumerate(self.contents(name)):
            self.words[self.plan.addresses[name] + word] = content

    def check(self, name: str) -> None:
        address, expected = self.plan.addresses[name], self.contents(name)
        assert [self.words.get(address + word) for word in range(len(expected))] == expected, name

    def contents(self, name: str) -> list[tuple[str, int, int]]:
        """The map's words: the layer or input that makes each, its channel group there, and the word of that group."""
        layout = feature_layout(self.graph, name, GROUP)
        groups = self.groups(name)
        assert len(groups) == layout.groups
        return [(*group, word) for index, group in enumerate(groups) for word in range(layout.group_words(index))]

    def groups(self, name: str) -> list[tuple[str, int]]:
        node = self.graph.producer(name)
        if node is not None and isinstance(node.op, Concat):
            return [group for part in node.inputs.values() for group in self.groups(part)]
        if node is not None and isinstance(node.op, Channels):
            source = self.groups(node.inputs["x"])
            return source[node.op.start // GROUP : -(-node.op.stop // GROUP)]
        return [(name, group) for group in range(feature_layout(self.graph, name, GROUP).groups)]


@settings(max_examples=120)
@given(networks(), st.sampled_from([0, 0, 64, 512, 4096]))
def test_every_layer_finds_what_it_reads(graph: Graph, on_chip_words: int) -> None:
    plan = plan_memory(graph, GROUP, on_chip_words)
    Written(graph, plan).run()
    assert plan.live_words <= plan.words
    assert plan.words == max(plan.addresses[name] + feature_layout(graph, name, GROUP).words for name in plan.addresses)


@settings(max_examples=40)
@given(networks(), st.sampled_from([64, 512, 4096]))
def test_maps_lie_on_chip_or_in_dram_and_where_the_host_reaches_them_in_dram(graph: Graph, on_chip_words: int) -> None:
    plan = plan_memory(graph, GROUP, on_chip_words)
    for name, address in plan.addresses.items():
        assert address >= on_chip_words or address + feature_layout(graph, name, GROUP).words <= on_chip_words
    assert all(plan.addresses[value.name] >= on_chip_words for value in graph.values)
    assert all(plan.addresses[name] >= on_chip_words for name in graph.output_names)


def test_a_memory_on_chip_holds_what_moves_most_words() -> None:
    """`wide` is read twice, but needs its place to the end; `narrow` and `again` share one and move more together."""
    draft = Draft()
    x = draft.input("image", (32, 8, 8))
    wide, narrow = draft.conv("wide", x, 32), draft.conv("narrow", x, 32)
    both = draft.conv("both", narrow, 32, residual=wide)
    graph = draft.graph(draft.conv("end", draft.conv("again", both, 32, residual=wide), 8))
    words = feature_layout(graph, wide, GROUP).words

    def on_chip(room: int) -> set[str]:
        addresses = plan_memory(graph, GROUP, room).addresses
        return {name for name, address in addresses.items() if address < room}

    assert on_chip(words - 1) == set()
    assert on_chip(words) == {"narrow", "again"}
    assert on_chip(2 * words) >= {"wide"}
    assert on_chip(3 * words) == {"wide", "narrow", "both", "again"}


@settings(max_examples=40)
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


def test_inputs_lie_one_behind_the_other() -> None:
    draft = Draft()
    first, second = draft.input("first", (16, 4, 4)), draft.input("second", (16, 4, 4))
    graph = draft.graph(draft.conv("a", first, 32), draft.conv("b", second, 32))
    plan = plan_memory(graph, GROUP)
    words = feature_layout(graph, first, GROUP).words
    assert (plan.addresses[first], plan.addresses[second]) == (plan.input_address, plan.input_address + words)
    assert plan.input_words == 2 * words


def test_a_map_that_streams_lies_nowhere() -> None:
    draft = Draft()
    draft.depthwise("filtered", draft.conv("map", draft.input("image", (32, 8, 8)), 64))
    stored = draft.graph("filtered")
    plan, without = plan_memory(stream_maps(stored, 3, always), GROUP), plan_memory(stored, GROUP)
    assert "map" not in plan.addresses
    assert plan.maps.keys() == without.maps.keys() - {"map"}
    assert plan.words == without.words - feature_layout(stored, "image", GROUP).words


def test_memory_is_reused() -> None:
    draft = Draft()
    x = draft.input("image", (32, 8, 8))
    for index in range(10):
        x = draft.conv(f"conv{index}", x, 32)
    graph = draft.graph(x)
    assert plan_memory(graph, GROUP).words == 2 * feature_layout(graph, x, GROUP).words


def test_a_skipped_map_of_a_join_leaves_the_other_parts_words_free() -> None:
    """As in a UNet: `skip` waits for `late` while others work in the place of `late`."""
    draft = Draft()
    skip = draft.conv("skip", draft.input("image", (32, 8, 8)), 32)
    deep = draft.conv("deeper", draft.conv("deep", skip, 32), 32)
    late = draft.conv("late", deep, 32)
    joined = draft.add("joined", Concat(), {"x0": skip, "x1": late})
    graph = draft.graph(draft.conv("end", joined, 32))
    plan = plan_memory(graph, GROUP)
    assert plan.words == plan.live_words == 3 * feature_layout(graph, skip, GROUP).words


def test_the_bound_is_the_largest_sum_of_maps_needed_at_once() -> None:
    draft = Draft()
    x = draft.input("image", (32, 8, 8))
    left, right = draft.conv("left", x, 64), draft.conv("right", x, 32)
    end = draft.conv("end", left, 64, residual=draft.conv("wide", right, 64))
    graph = draft.graph(draft.conv("head", end, 8))
    words = {name: feature_layout(graph, name, GROUP).words for name in ("left", "wide", "end")}
    assert plan_memory(graph, GROUP).live_words == sum(words.values())


def test_channels_of_a_map_are_words_of_it() -> None:
    draft = Draft()
    x = draft.conv("x", draft.input("image", (32, 4, 4)), 112)
    views = [draft.add(f"view{start}", Channels(start, stop), {"x": x}) for start, stop in ((32, 64), (64, 112))]
    graph = draft.graph(draft.conv("end", views[0], 8), draft.conv("other", views[1], 8))
    addresses = plan_memory(graph, GROUP).addresses
    plane = feature_layout(graph, "view32", GROUP).words
    assert [addresses[view] - addresses["x"] for view in views] == [plane, 2 * plane]


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
