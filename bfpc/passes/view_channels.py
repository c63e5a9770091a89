"""Makes slices of neighbouring channels what the memory can address: views on whole channel groups, in one step.

%a = Channels(x) {start=32, stop=96}; %y = Channels(%a) {start=32, stop=64}
->  %y = Channels(x) {start=64, stop=96}

%a = Concat(p, q); %y = Channels(%a), all of q                  ->  every reader of %y reads q

%y = Channels(x) {start=3, stop=7}, off the channel groups      ->  %y = Conv(x, ones in place)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import Channels, Concat, Conv
from bfpc.passes.selections import selected_channels, selection


def view_channels(graph: Graph, group: int) -> Graph:
    """group: channels of a group of the feature memory."""
    constants: dict[str, Constant] = dict(graph.constants)
    renamed: dict[str, str] = {}
    made: dict[str, Node] = {}
    for node in graph.nodes:
        node = replace(node, inputs={role: renamed.get(name, name) for role, name in node.inputs.items()})
        if isinstance(node.op, Channels):
            node = _resolved(graph, node, node.op, made, group)
            assert isinstance(node.op, Channels | Concat)
            if isinstance(node.op, Channels) and node.output.shape == graph.value(node.inputs["x"]).shape:
                renamed[node.name] = node.inputs["x"]
                continue
            node = _addressable(graph, node, made, constants, group)
        made[node.name] = node
    outputs = tuple(replace(port, value=renamed.get(port.value, port.value)) for port in graph.outputs)
    return replace(graph, outputs=outputs).with_nodes(made.values(), constants)


def _resolved(graph: Graph, node: Node, op: Channels, made: dict[str, Node], group: int) -> Node:
    """The same channels, seen through the views and concatenations that the node reads."""
    source = made.get(node.inputs["x"])
    if source is None:
        return node
    if isinstance(source.op, Channels):
        view = Channels(source.op.start + op.start, source.op.start + op.stop)
        return _resolved(graph, replace(node, op=view, inputs=source.inputs), view, made, group)
    if not isinstance(source.op, Concat):
        return node
    start, whole = 0, []
    for name in source.inputs.values():
        stop = start + graph.value(name).shape[0]
        if start <= op.start and op.stop <= stop:
            view = Channels(op.start - start, op.stop - start)
            return _resolved(graph, replace(node, op=view, inputs={"x": name}), view, made, group)
        if op.start <= start and stop <= op.stop:
            whole.append(name)
        start = stop
    unaligned = op.start % group or (op.stop % group and op.stop != source.output.shape[0])
    if not unaligned or sum(graph.value(name).shape[0] for name in whole) < op.stop - op.start:
        return node
    return replace(node, op=Concat(), inputs={f"x{i}": name for i, name in enumerate(whole)})


def _addressable(graph: Graph, node: Node, made: dict[str, Node], constants: dict[str, Constant], group: int) -> Node:
    """The node itself where it starts and ends with whole channel groups, else a selection."""
    if not isinstance(node.op, Channels):
        return node
    source = node.inputs["x"]
    channels: NDArray[np.integer] = np.arange(node.op.start, node.op.stop)
    inputs = graph.value(source).shape[0]
    chosen = selected_channels(constants, made[source]) if source in made else None
    if chosen is not None:
        channels, source = chosen[channels], made[source].inputs["x"]
        inputs = graph.value(source).shape[0]
    elif node.op.start % group == 0 and (node.op.stop % group == 0 or node.op.stop == inputs):
        return node
    name = f"{node.name}.selection"
    constants[name] = selection(channels, inputs)
    return replace(node, op=Conv((1, 1)), inputs={"x": source, "weight": name})
