"""Measures the float network on calibration data: what windows and bias correction are derived from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import DataError
from bfpc.ir.graph import Graph, Node, Value
from bfpc.ir.operators import Conv, Depthwise, Layer, Pass, Table, Tail
from bfpc.ir.shapes import array_size

AVERAGED_ELEMENTS = 1 << 25  # of the largest map, all images together

Maps = NDArray[np.float32]
Runner = Callable[[Mapping[str, Maps]], dict[str, Maps]]
Prepare = Callable[[Graph, list[str]], Runner]


@dataclass(frozen=True)
class Statistics:
    """largest: for every value the largest magnitude seen.
    means: for every convolution the mean of each output channel's sum, without bias [output channels], over the first
    `averaged` images.
    domains: for every layer with a table the smallest and the largest number that its function was applied to.
    """

    largest: Mapping[str, float]
    means: Mapping[str, NDArray[np.float64]]
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    averaged: int = 1


def averaged_images(graph: Graph) -> int:
    """Over how many images means are worth taking: maps of many positions need few, and memory holds no more."""
    values = (*graph.values, *(node.output for node in graph.nodes))
    return max(1, AVERAGED_ELEMENTS // max(prod(value.shape) for value in values))


def calibrate(graph: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Statistics:
    """Runs the graph on one image after another.

    images: for each the input maps; prepare: makes a graph ready to run for some of its values.
    """
    names = [value.name for value in (*graph.values, *(node.output for node in graph.nodes))]
    convolutions = [node for node in graph.nodes if isinstance(node.op, Conv | Depthwise)]
    probes = {node.name: f"{node.name}.before_table" for node in graph.layers if _has_table(node)}
    run = prepare(_probed(graph, probes), [*names, *probes.values()])
    largest = dict.fromkeys(names, 0.0)
    domains = dict.fromkeys(probes, (math.inf, -math.inf))
    taps: dict[str, list[NDArray[np.float64]]] = {node.name: [] for node in convolutions}
    averaged = averaged_images(graph)
    for count, maps in enumerate(images):
        results = run(maps)
        for name in names:
            largest[name] = max(largest[name], _magnitude(name, results[name]))
        for name, probe in probes.items():
            low, high = domains[name]
            domains[name] = min(low, float(results[probe].min())), max(high, float(results[probe].max()))
        for node in convolutions if count < averaged else ():
            taps[node.name].append(tap_means(graph, node, results[node.inputs["x"]]))
    means = {
        node.name: mean_sum(node, graph.array(node.inputs["weight"]), np.mean(taps[node.name], axis=0))
        for node in convolutions
    }
    return Statistics(largest, means, domains, averaged)


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


def mean_sum(node: Node, weight: NDArray[Any], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over images and positions of what a convolution makes, without bias [output channels].

    A mean of sums is a sum of means: of the inputs under each filter tap (see `tap_means`).
    """
    products = weight * (taps[:, None] if isinstance(node.op, Depthwise) else taps)
    return np.asarray(products.sum(axis=(1, 2, 3)), np.float64)


def tap_means(graph: Graph, node: Node, x: Maps) -> NDArray[np.float64]:
    """The mean input of each filter tap over images and output positions [input channels, kernel height, kernel width].

    x: what the convolution reads [batch, channels, height, width].
    """
    op = node.layer
    height, width = array_size(op, graph.value(node.inputs["x"]).shape[1:])
    spread = _spread(op, x)
    means = np.empty((x.shape[1], *op.kernel))
    for row, column in product(range(op.kernel[0]), range(op.kernel[1])):
        top, left = row * op.dilation[0], column * op.dilation[1]
        rows = slice(top, top + (height - 1) * op.stride[0] + 1, op.stride[0])
        columns = slice(left, left + (width - 1) * op.stride[1] + 1, op.stride[1])
        means[:, row, column] = spread[:, :, rows, columns].mean(axis=(2, 3)).mean(axis=0, dtype=np.float64)
    return means


def _spread(op: Layer, x: Maps) -> Maps:
    """The map as the filter's taps see it: zeros between its positions, and pads around them, or cropped."""
    (rows, columns), (top, left, bottom, right) = op.input_dilation, op.pads
    if op.pad_mode != "zero":  # pads of whole positions first: what they exceed the layer's by is cropped below
        whole = [max(0, -(-side // step)) for side, step in zip(op.pads, (rows, columns, rows, columns), strict=True)]
        x = np.pad(x, ((0, 0), (0, 0), (whole[0], whole[2]), (whole[1], whole[3])), mode=op.pad_mode)
        top, bottom = top - whole[0] * rows, bottom - whole[2] * rows
        left, right = left - whole[1] * columns, right - whole[3] * columns
    if op.input_dilation != (1, 1):
        dilated = np.zeros((*x.shape[:2], (x.shape[2] - 1) * rows + 1, (x.shape[3] - 1) * columns + 1), x.dtype)
        dilated[:, :, ::rows, ::columns] = x
        x = dilated
    height, width = x.shape[2:]
    x = x[:, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
    pads = [(max(before, 0), max(after, 0)) for before, after in ((top, bottom), (left, right))]
    return np.pad(x, ((0, 0), (0, 0), *pads)) if any(map(any, pads)) else x
