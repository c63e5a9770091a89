"""Measures the float network on calibration data: what windows and the domains of tables are derived from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

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
    """channels: for every value the largest magnitude seen in each channel [channels].
    powers: for every value the mean square in each channel [channels], added up over the images.
    domains: for every layer with a table the smallest and the largest number that its function was applied to.
    """

    channels: Mapping[str, Maps]
    powers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def largest(self) -> dict[str, float]:
        """For every value the largest magnitude seen."""
        return {name: float(channels.max()) for name, channels in self.channels.items()}


def calibrate(graph: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Statistics:
    """Runs the graph on one image after another.

    images: for each the input maps; prepare: makes a graph ready to run for some of its values.
    """
    values = (*graph.values, *(node.output for node in graph.nodes))
    names = [value.name for value in values]
    probes = {node.name: f"{node.name}.before_table" for node in graph.layers if _has_table(node)}
    run = prepare(_probed(graph, probes), [*names, *probes.values()])
    channels = {value.name: np.zeros(value.shape[0], np.float32) for value in values}
    powers = {value.name: np.zeros(value.shape[0]) for value in values}
    domains = dict.fromkeys(probes, (math.inf, -math.inf))
    for maps in images:
        results = run(maps)
        for name in names:
            channels[name] = np.maximum(channels[name], _magnitudes(name, results[name]))
            powers[name] += np.square(results[name], dtype=np.float64).mean(axis=(0, 2, 3))
        for name, probe in probes.items():
            low, high = domains[name]
            domains[name] = min(low, float(results[probe].min())), max(high, float(results[probe].max()))
    return Statistics(channels, powers, domains)


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


def _magnitudes(name: str, maps: Maps) -> Maps:
    """The largest in each channel of maps [batch, channels, height, width], which are refused where not finite."""
    magnitudes = np.asarray(np.maximum(maps.max(axis=(0, 2, 3)), -maps.min(axis=(0, 2, 3))))
    if not np.isfinite(magnitudes).all():
        fix = "check the calibration data and its preprocessing; onnxruntime should give finite numbers for it, too"
        raise DataError("the network overflows in float32 on the calibration data", where=f"value {name}", fix=fix)
    return magnitudes
