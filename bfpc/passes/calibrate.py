"""Measures the float network on calibration data: what windows and bias correction are derived from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node, Value
from bfpc.ir.operators import Conv, Depthwise, Pass, Tail
from bfpc.ir.shapes import array_shape

Maps = NDArray[np.float32]
Runner = Callable[[Mapping[str, Maps]], dict[str, Maps]]
Prepare = Callable[[Graph, list[str]], Runner]


@dataclass(frozen=True)
class Statistics:
    """largest: for every value the largest magnitude seen. means: for every convolution the mean of each output
    channel before its tail, [output channels]."""

    largest: Mapping[str, float]
    means: Mapping[str, NDArray[np.float64]]


def calibrate(graph: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Statistics:
    """Runs the graph on one image after another.

    images: for each the input maps; prepare: makes a graph ready to run for some of its values.
    """
    split, before_tail = split_tails(graph)
    names = [value.name for value in (*graph.values, *(node.output for node in graph.nodes))]
    run = prepare(split, [*names, *before_tail.values()])
    largest = dict.fromkeys(names, 0.0)
    sums: dict[str, NDArray[np.float64]] = {}
    count = 0
    for maps in images:
        results = run(maps)
        count += 1
        for name in names:
            largest[name] = max(largest[name], float(np.abs(results[name]).max()))
        for layer, name in before_tail.items():
            sums[layer] = sums.get(layer, 0) + results[name].mean(axis=(0, 2, 3), dtype=np.float64)
    return Statistics(largest, {layer: total / count for layer, total in sums.items()})


def split_tails(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The same network with every convolution's sum before its tail as a value of its own, and their names by layer."""
    nodes: list[Node] = []
    names: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv | Depthwise):
            array, tail = split_tail(graph, node)
            nodes += [array, tail]
            names[node.name] = array.name
        else:
            nodes.append(node)
    return graph.with_nodes(nodes), names


def split_tail(graph: Graph, node: Node) -> tuple[Node, Node]:
    """A convolution as what its array and bias make, without a format, and a pass with its tail.

    %y = Conv(x, w, bias=b, residual=%r) {tail}
    ->  %y.sum = Conv(x, w, bias=b); %y = Pass(%y.sum, residual=%r) {tail}
    """
    assert isinstance(node.op, Conv | Depthwise)
    shapes = {"x": graph.value(node.inputs["x"]).shape, "weight": (node.output.shape[0],)}
    sums = Value(f"{node.name}.sum", array_shape(node.op, shapes))
    array_inputs = {role: name for role, name in node.inputs.items() if role in ("x", "weight", "bias")}
    tail_inputs = {role: name for role, name in node.inputs.items() if role in ("residual", "slope")}
    array = Node(replace(node.op, tail=Tail()), array_inputs, sums)
    return array, Node(Pass(tail=node.op.tail), {"x": sums.name, **tail_inputs}, node.output)
