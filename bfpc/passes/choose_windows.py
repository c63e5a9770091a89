"""Moves windows down by an octave or two, where what saturates loses less than what is stored finer gains.

    %y = Conv(...) : 64x56x56 [uint5bfp/16 r7 e-9]    ->  ... : 64x56x56 [uint5bfp/16 r7 e-10]

`assign_formats` puts a window's top above the largest magnitude that calibration saw. Below a lower top a block with an
outlier cuts that short, but gives its other elements a bit more, and blocks of tiny numbers are held longer. What
counts is the error of the map itself over calibration images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.quantize import dequantize, quantize
from bfpc.passes.assign_formats import format_owners
from bfpc.passes.calibrate import Maps, Prepare

MOST_OCTAVES = 2
MOST_POSITIONS = 4096  # of a map, for each image


def choose_windows(graph: Graph, original: Graph, images: Iterable[Mapping[str, Maps]], prepare: Prepare) -> Graph:
    """Takes and gives a graph with formats; maps that share a format are moved together.

    original: the same layers in float32. images: for each the input maps. prepare: makes a graph ready to run for some
    of its values.
    """
    owners = format_owners(graph)
    names = list(dict.fromkeys(owners.values()))  # a concatenation's map holds its parts, too
    run = prepare(original, names)
    errors = {name: np.zeros(MOST_OCTAVES + 1) for name in names}
    for maps in images:
        results = run(maps)
        for name in names:
            errors[name] += [_error(results[name], _lowered(graph.format(name), by)) for by in range(MOST_OCTAVES + 1)]
    formats = {name: _lowered(graph.format(name), int(np.argmin(tried))) for name, tried in errors.items()}
    nodes = [replace(node, output=replace(node.output, format=formats[owners[node.name]])) for node in graph.nodes]
    values = tuple(replace(value, format=formats[owners[value.name]]) for value in graph.values)
    return replace(graph, values=values).with_nodes(nodes)


def _lowered(format: BfpFormat, octaves: int) -> BfpFormat:
    return replace(format, exponent=format.exponent - octaves)


def _error(maps: NDArray[np.float32], format: BfpFormat) -> float:
    """The power of what quantization takes from maps [batch, channels, height, width], at some of their positions."""
    positions = maps.reshape(len(maps), maps.shape[1], 1, -1)
    positions = positions[..., :: -(-positions.shape[-1] // MOST_POSITIONS)]
    difference = dequantize(*quantize(positions, format), format) - positions
    return float(np.square(difference).sum(dtype=np.float64))
