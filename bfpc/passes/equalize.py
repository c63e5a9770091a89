"""Scales the channels of maps by powers of two, such that those that share an exponent are of about one size.

    %y = Conv(x, w, b); %z = Conv(%y, v)
    ->  %y = Conv(x, w * s, b * s); %z = Conv(%y, v / s)    with s[channel] a power of two

The network computes the same, in every bit of a float. Channels of a map share the exponents of its blocks, and so do
the weights that read them: where a channel is small but its weights are large, a factor brings both nearer to their
neighbours (after Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019).
Depthwise weights have an exponent for each channel: for them the map alone counts.

A map is scaled where nothing but convolutions and other maps that are scaled alike read it, and where its layer's tail
scales along: a residual, Relu, PRelu and pools do. A clip at a fixed number, as Relu6, doesn't: bounds that move along
with the factors would cut channels that calibration hardly saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Clip, Conv, Depthwise, Layer, Pass, PositionScale, PRelu
from bfpc.passes.calibrate import Statistics

Exponents = NDArray[np.int32]  # of the factors of a value's channels
Powers = NDArray[np.float64]  # of channels: mean squares
MOST_OCTAVES = 3  # a factor is 2**-3 to 2**3


def equalize(graph: Graph, exponents: Mapping[str, Exponents]) -> Graph:
    """The float network with these values times 2**exponent for each channel, and all others as they were."""
    constants, nodes = dict(graph.constants), []
    for node in graph.nodes:
        if isinstance(node.op, Conv | Depthwise):
            own, read = (exponents.get(name, np.zeros(1, np.int32)) for name in (node.name, node.inputs["x"]))
            columns = read[:, np.newaxis] if isinstance(node.op, Depthwise) else read
            shifts = {"weight": (own[:, np.newaxis] - columns)[:, :, np.newaxis, np.newaxis], "bias": own}
            changed = {role: shift for role, shift in shifts.items() if role in node.inputs and shift.any()}
            names = {role: f"{node.name}.equalized_{role}" for role in changed}
            for role, name in names.items():
                constants[name] = np.ldexp(graph.array(node.inputs[role]), changed[role])
            node = replace(node, inputs={**node.inputs, **names})
        nodes.append(node)
    return graph.with_nodes(nodes, constants)


def equalized_statistics(statistics: Statistics, exponents: Mapping[str, Exponents]) -> Statistics:
    """What calibration would find in the equalized network."""
    channels = {name: np.ldexp(statistics.channels[name], shift) for name, shift in exponents.items()}
    powers = {name: np.ldexp(statistics.powers[name], 2 * shift) for name, shift in exponents.items()}
    return replace(statistics, channels={**statistics.channels, **channels}, powers={**statistics.powers, **powers})


def choose_factors(graph: Graph, statistics: Statistics) -> dict[str, Exponents]:
    """The exponents of the factors of each value that can be scaled; those that would change nothing are left out."""
    readers = graph.consumers()
    chosen: dict[str, Exponents] = {}
    for group in _scalable_groups(graph):
        map_powers = np.max([statistics.powers[name] for name in group], axis=0)
        read_by = [node for name in group for node in readers[name] if node.inputs["x"] == name]
        exponents = _balance(map_powers, _weight_powers(graph, read_by))
        if exponents.any():
            chosen |= dict.fromkeys(group, exponents)
    return chosen


def _balance(maps: Powers, weights: Powers | None) -> Exponents:
    """Exponents that bring the powers of a map's channels, and of the weights that read them, nearer to each other.

    weights: None where those have an exponent for each channel. Channels that are always zero, or never read, stay.
    """
    alive = (maps > 0) & (True if weights is None else weights > 0)
    octaves = -np.log2(maps[alive]) / 2 if weights is None else np.log2(weights[alive] / maps[alive]) / 4
    exponents = np.zeros(len(maps), np.int32)
    if alive.any():
        exponents[alive] = np.rint(octaves - np.median(octaves)).clip(-MOST_OCTAVES, MOST_OCTAVES)
    return exponents


def _weight_powers(graph: Graph, readers: Iterable[Node]) -> Powers | None:
    """The power of the weights that dense layers read each channel with, in parts of a layer's largest.

    None without dense layers.
    """
    weights = [graph.array(node.inputs["weight"]) for node in readers if isinstance(node.op, Conv)]
    powers = [np.square(weight, dtype=np.float64).mean(axis=(0, 2, 3)) for weight in weights]
    return np.max([power / (power.max() or 1.0) for power in powers], axis=0) if powers else None


def _scalable_groups(graph: Graph) -> list[list[str]]:
    """The values that can be scaled, in groups that need the same factors: terms of a sum, and the sum."""
    groups = {value.name: [value.name] for value in (*graph.values, *(node.output for node in graph.nodes))}
    fixed = {value.name for value in graph.values} | graph.output_names
    shared = graph.shared_weights
    for node in graph.nodes:
        tied = [node.name, *_tied_inputs(graph, node)]
        if not _scales_along(node):
            fixed.update(tied)
        if node.inputs.get("weight") in shared or (isinstance(node.op, Conv) and node.op.groups > 1):
            fixed.update([*tied, node.inputs["x"]])  # its weights cannot change for it alone, channel by channel
        for name in tied[1:]:
            _join(groups, tied[0], name)
    distinct = {id(group): group for group in groups.values()}
    return [group for group in distinct.values() if fixed.isdisjoint(group)]


def _join(groups: dict[str, list[str]], one: str, other: str) -> None:
    if groups[one] is not groups[other]:
        groups[one] += groups[other]
        groups |= dict.fromkeys(groups[other], groups[one])


def _tied_inputs(graph: Graph, node: Node) -> list[str]:
    """The maps that a node's output is scaled as: all but those that go through weights."""
    convolves = isinstance(node.op, Conv | Depthwise)
    return [name for role, name in node.inputs.items() if graph.is_value(name) and not (convolves and role == "x")]


def _scales_along(node: Node) -> bool:
    """Whether factors on the tied inputs and on the weights of a node give its output times the same factors."""
    if not isinstance(node.op, Layer):
        return False  # joined and chosen channels have other places
    tail = node.op.tail
    multiplies = "residual" in node.inputs and tail.residual == "multiply"
    pads = isinstance(node.op, Pass) and node.op.pad_value != 0
    homogeneous = tail.activation == Clip() or isinstance(tail.activation, PRelu | PositionScale | None)
    return homogeneous and not (multiplies or pads)
