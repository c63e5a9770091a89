"""Measures the float network on calibration data: what windows and bias correction are derived from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import DataError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv, Depthwise
from bfpc.ir.shapes import array_size

Maps = NDArray[np.float32]
Runner = Callable[[Mapping[str, Maps]], dict[str, Maps]]
Prepare = Callable[[Graph, list[str]], Runner]


@dataclass(frozen=True)
class Statistics:
    """largest: for every value the largest magnitude seen.
    means: for every convolution the mean of each output channel's sum, without bias [output channels].
    """

    largest: Mapping[str, float]
    means: Mapping[str, NDArray[np.float64]]


def calibrate(graph: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Statistics:
    """Runs the graph on one image after another.

    images: for each the input maps; prepare: makes a graph ready to run for some of its values.
    """
    names = [value.name for value in (*graph.values, *(node.output for node in graph.nodes))]
    convolutions = [node for node in graph.nodes if isinstance(node.op, Conv | Depthwise)]
    run = prepare(graph, names)
    largest = dict.fromkeys(names, 0.0)
    taps: dict[str, list[NDArray[np.float64]]] = {node.name: [] for node in convolutions}
    for maps in images:
        results = run(maps)
        for name in names:
            largest[name] = max(largest[name], _magnitude(name, results[name]))
        for node in convolutions:
            taps[node.name].append(tap_means(graph, node, results[node.inputs["x"]]))
    means = {
        node.name: mean_sum(node, graph.array(node.inputs["weight"]), np.mean(taps[node.name], axis=0))
        for node in convolutions
    }
    return Statistics(largest, means)


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
    pads = [(max(before, 0), max(after, 0)) for before, after in ((op.pads[0], op.pads[2]), (op.pads[1], op.pads[3]))]
    crop = [max(-op.pads[axis], 0) for axis in (0, 1)]
    padded = np.pad(x, ((0, 0), (0, 0), *pads)) if any(map(any, pads)) else x
    means = np.empty((x.shape[1], *op.kernel))
    for row, column in product(range(op.kernel[0]), range(op.kernel[1])):
        top, left = crop[0] + row * op.dilation[0], crop[1] + column * op.dilation[1]
        rows = slice(top, top + (height - 1) * op.stride[0] + 1, op.stride[0])
        columns = slice(left, left + (width - 1) * op.stride[1] + 1, op.stride[1])
        means[:, row, column] = padded[:, :, rows, columns].mean(axis=(2, 3)).mean(axis=0, dtype=np.float64)
    return means
