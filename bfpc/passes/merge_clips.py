"""Makes one Clip of those that follow each other, and drops those that change nothing.

    %a = Clip(x, 0, inf); %y = Clip(%a, 0, 2)                   ->  %y = Clip(x, 0, 2)
    %a = Clip(x, 0, 2); %b = MaxPool(%a); %y = Clip(%b, 0, 2)   ->  %a = Clip(x, 0, 2); %y = MaxPool(%a)

Models of other quantizers are full of both: each of their ranges that begins at zero is a Clip.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import replace

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Activate, Clip, Concat, Pad, Pass, Pool, Slice

Range = tuple[float, float]
ANY: Range = (-math.inf, math.inf)


def merge_clips(graph: Graph) -> Graph:
    once = graph.read_once
    ranges: dict[str, Range] = {}
    instead: dict[str, str] = {}  # of values whose Clip is dropped: the value that it read
    kept: dict[str, Node] = {}
    for each in graph.nodes:
        node = replace(each, inputs={role: instead.get(name, name) for role, name in each.inputs.items()})
        if isinstance(node.op, Activate) and isinstance(node.op.activation, Clip):
            node = _merged(node, node.op.activation, kept, once)
            if _changes_nothing(node, ranges) and node.name not in graph.output_names:
                instead[node.name] = node.inputs["x"]
                continue
        kept[node.name] = node
        ranges[node.name] = _range(node, [ranges.get(name, ANY) for name in node.inputs.values()])
    return graph.with_nodes(kept.values())


def _merged(node: Node, clip: Clip, kept: dict[str, Node], once: Set[str]) -> Node:
    """The node with the bounds of the Clip that only it reads."""
    before = kept.get(node.inputs["x"])
    if before is None or before.name not in once:
        return node
    match before.op:
        case Activate(Clip(low, high)):
            low, high = (min(max(bound, clip.low), clip.high) for bound in (low, high))
            return replace(node, op=Activate(Clip(low, high)), inputs=before.inputs)
    return node


def _changes_nothing(node: Node, ranges: dict[str, Range]) -> bool:
    """Whether what a Clip reads is within its bounds."""
    assert isinstance(node.op, Activate)
    assert isinstance(node.op.activation, Clip)
    low, high = ranges.get(node.inputs["x"], ANY)
    return node.op.activation.low <= low and high <= node.op.activation.high


def _range(node: Node, inputs: list[Range]) -> Range:
    """Bounds of what a node makes, from those of what it reads; none but for Clips and what moves numbers."""
    match node.op:
        case Activate(Clip(low, high)):
            return low, high
        case Slice() | Concat():
            return _hull(*inputs)
        case Pool(window):
            return _hull(*inputs, (0.0, 0.0)) if window.count_padding else inputs[0]
        case Pad(_, _, _, value):
            return _hull(*inputs, (0.0, 0.0), (value, value))
        case Pass(pad_value=value) if len(inputs) == 1 and node.op.tail == Pass().tail:
            return _hull(*inputs, (0.0, 0.0), (value, value))
    return ANY


def _hull(*ranges: Range) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)
