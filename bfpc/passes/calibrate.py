"""Measures the float network on calibration data: what windows and the domains of tables are derived from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import DataError
from bfpc.ir.graph import Graph, Node, Value
from bfpc.ir.operators import Pass, Table, Tail
from bfpc.ir.shapes import array_size

Maps = NDArray[np.float32]
Runner = Callable[[Mapping[str, Maps]], dict[str, Maps]]
Prepare = Callable[[Graph, list[str]], Runner]


@dataclass(frozen=True)
class Statistics:
    """largest: for every value the largest magnitude seen.
    domains: for every layer with a table the smallest and the largest number that its function was applied to.
    """

    largest: Mapping[str, float]
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def calibrate(graph: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Statistics:
    """Runs the graph on one image after another.

    images: for each the input maps; prepare: makes a graph ready to run for some of its values.
    """
    names = [value.name for value in (*graph.values, *(node.output for node in graph.nodes))]
    probes = {node.name: f"{node.name}.before_table" for node in graph.layers if _has_table(node)}
    run = prepare(_probed(graph, probes), [*names, *probes.values()])
    largest = dict.fromkeys(names, 0.0)
    domains = dict.fromkeys(probes, (math.inf, -math.inf))
    for maps in images:
        results = run(maps)
        for name in names:
            largest[name] = max(largest[name], _magnitude(name, results[name]))
        for name, probe in probes.items():
            low, high = domains[name]
            domains[name] = min(low, float(results[probe].min())), max(high, float(results[probe].max()))
    return Statistics(largest, domains)


def _has_table(node: Node) -> bool:
    return isinstance(node.layer.tail.activation, Table)


def _probed(graph: Graph, probes: Mapping[str, str]) -> Graph:
    """The graph with these layers in two, such that what their tables are applied to is a value by itself."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in probes:
            tail, size = node.layer.tail, array_size(node.layer, graph.value(node.inputs["x"]).shape[1:])
            probe = Value(probes[node.name], (node.output.shape[0], *size))
            nodes.append(replace(node, op=replace(node.layer, tail=Tail(residual=tail.residual)), output=probe))
            node = replace(node, op=Pass(tail=replace(tail, residual="add")), inputs={"x": probe.name})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _magnitude(name: str, maps: Maps) -> float:
    """The largest magnitude of a map, which is refused where it is not finite."""
    magnitude = float(max(maps.max(), -maps.min()))
    if not math.isfinite(magnitude):
        fix = "check the calibration data and its preprocessing; onnxruntime should give finite numbers for it, too"
        raise DataError("the network overflows in float32 on the calibration data", where=f"value {name}", fix=fix)
    return magnitude
