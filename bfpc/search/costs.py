"""What formats cost: bits of the weights, memory traffic, cycles, or logic.

What a layer moves and how long it takes follows from the backend's cost model, with the tile that suits the layer in
its widest formats; the figures of a finished choice are those of the tiles that suit the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bfpc.backend.architecture import Architecture, size_architecture
from bfpc.backend.area import array_luts
from bfpc.backend.cost_model import layer_cost
from bfpc.backend.layer_work import LayerWork, Tile
from bfpc.backend.schedule import layer_works
from bfpc.backend.tiling import choose_tile
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv
from bfpc.numerics.format import BfpFormat
from bfpc.passes.assign_formats import format_owners
from bfpc.search.choice import Joint, Numbers, Peak
from bfpc.search.decisions import Decision


@dataclass(frozen=True)
class Costs:
    """For each decision what each of its options costs, what pairs of options cost together, and the widest of all."""

    own: tuple[Numbers, ...]
    joints: tuple[Joint, ...] = ()
    peak: Peak | None = None


def check_cost(budget: Budget, config: Config) -> None:
    """Raises ConfigError where the config leaves nothing that this cost depends on."""
    bits = config.architecture.activation_bits, config.architecture.weight_bits
    where = "architecture.activation_bits and .weight_bits"
    if budget.cost == "cycles" and not all(isinstance(width, int) for width in bits):
        what = "cycles depend on formats only where the array multiplies fewer bits than they have"
        raise ConfigError(what, where=where, fix="give numbers, such as 4 and 4, or budget another cost")
    if budget.cost == "area" and not all(isinstance(width, str) for width in bits):
        what = "the area follows from the widest formats only where the array is sized by them"
        raise ConfigError(what, where=where, fix="leave them on auto, or budget another cost")


def option_costs(budget: Budget, config: Config, reference: Graph, decisions: Sequence[Decision]) -> Costs:
    """reference: the network quantized in any of the formats, to see its layers and maps."""
    if budget.cost == "weight_bits":
        return Costs(tuple(_weight_bits(reference, decision) for decision in decisions))
    decided = _Decided.of(reference, decisions)
    if budget.cost == "area":
        return _area_costs(reference, config, decided)
    works = _works(reference, config)
    return (_dram_costs if budget.cost == "dram_bytes" else _cycle_costs)(works, decided)


def network_cost(budget: Budget, config: Config, graph: Graph) -> float:
    """What a quantized network costs."""
    if budget.cost == "weight_bits":
        weights = ((node, graph.weight(node)) for node in graph.layers)
        return float(sum(weight_bits(node, w.mantissas.shape, w.format) for node, w in weights if w is not None))
    if budget.cost == "area":
        return array_luts(size_architecture(graph, config.architecture, config.array_size))
    costs = [choose_tile(work)[1] for work in _works(graph, config).values()]
    return float(sum(cost.cycles if budget.cost == "cycles" else cost.dram_bytes for cost in costs))


def _works(graph: Graph, config: Config) -> dict[str, LayerWork]:
    """The layers of a quantized graph as the cost model sees them, by name; of those that run together the first's."""
    architecture = size_architecture(graph, config.architecture, config.array_size)
    return {work.name: work for work in layer_works(graph, architecture)}


@dataclass(frozen=True)
class _Decided:
    """Which decision, by its index, gives a layer each of its formats."""

    decisions: Sequence[Decision]
    maps: dict[str, int]
    weights: dict[str, int]
    runs: tuple[tuple[Node, ...], ...]

    @staticmethod
    def of(graph: Graph, decisions: Sequence[Decision]) -> _Decided:
        owned = {decision.name: index for index, decision in enumerate(decisions) if decision.kind != "weight"}
        inputs = {name: index for index, each in enumerate(decisions) if each.kind == "input" for name in each.members}
        owners = format_owners(graph)
        maps = {value: inputs.get(value, owned.get(owner, inputs.get(owner, 0))) for value, owner in owners.items()}
        weights = {
            name: index for index, each in enumerate(decisions) if each.kind == "weight" for name in each.members
        }
        return _Decided(decisions, maps, weights, tuple(graph.runs))

    def formats(self, index: int) -> list[BfpFormat]:
        return [option.stored[0] for option in self.decisions[index].options]

    def nothing(self) -> list[Numbers]:
        return [np.zeros(len(decision.options)) for decision in self.decisions]


# -- Bits of the weights ----------------------------------------------------------------------------------------------


def weight_bits(node: Node, shape: tuple[int, ...], format: BfpFormat) -> int:
    """Bits of a layer's weights in the weight memory, mantissas and exponents.

    shape: [output channels, input channels, kernel height, kernel width].
    """
    channels, inputs, height, width = shape
    whole = (channels, inputs, height, width)
    return channels * ParameterLayout(channels, format, whole, isinstance(node.op, Conv), 0, False, 0, 0).weight_bits


def _weight_bits(graph: Graph, decision: Decision) -> Numbers:
    costs = np.zeros(len(decision.options))
    if decision.kind == "weight":
        nodes = [node for node in graph.nodes if node.name in decision.members]
        shapes = [weight.mantissas.shape for weight in map(graph.weight, nodes) if weight is not None]
        for index, option in enumerate(decision.options):
            costs[index] = sum(
                weight_bits(node, shape, option.stored[0]) for node, shape in zip(nodes, shapes, strict=True)
            )
    return costs


# -- Memory traffic: what each tensor moves, by itself ----------------------------------------------------------------


def _dram_costs(works: dict[str, LayerWork], decided: _Decided) -> Costs:
    own, base = decided.nothing(), 0
    for run in decided.runs:
        work = works[run[0].name]
        tile = choose_tile(work)[0]
        bytes_now = layer_cost(work, tile).dram_bytes
        base += bytes_now
        for index, change in _formats_of(run, work, decided):
            moved = [layer_cost(change(format), tile).dram_bytes for format in decided.formats(index)]
            own[index] += np.array(moved, np.float64) - bytes_now
    return Costs(_with_base(own, base))


def _formats_of(
    run: tuple[Node, ...], work: LayerWork, decided: _Decided
) -> list[tuple[int, Callable[[BfpFormat], LayerWork]]]:
    """The decisions that what layers move depends on, and the layers with another format from each.

    A map that streams from one to the next moves nothing.
    """
    node, last = run[0], run[-1]
    changes: list[tuple[int, Callable[[BfpFormat], LayerWork]]] = [
        (decided.maps[node.inputs["x"]], lambda format: replace(work, input=replace(work.input, format=format))),
        (decided.maps[last.name], lambda format: replace(work, output=replace(work.output, format=format))),
    ]
    residual = work.residual
    if residual is not None:
        index = decided.maps[node.inputs["residual"]]
        changes.append((index, lambda format: replace(work, residual=replace(residual, format=format))))
    if node.name in decided.weights:
        changes.append((decided.weights[node.name], lambda format: _with_weights(work, format)))
    behind = work.behind
    if behind is not None and last.name in decided.weights:
        index = decided.weights[last.name]
        changes.append((index, lambda format: replace(work, behind=_with_weights(behind, format))))
    return changes


def _with_weights(work: LayerWork, format: BfpFormat) -> LayerWork:
    return replace(work, parameters=replace(work.parameters, weight_format=format))


def _with_base(own: list[Numbers], base: float) -> tuple[Numbers, ...]:
    """Costs of 0 and more: what every choice costs is the first decision's."""
    least = [costs.min() for costs in own]
    shifted = [costs - low for costs, low in zip(own, least, strict=True)]
    return (shifted[0] + base + sum(least), *shifted[1:])


# -- Cycles: an activation's and a weight's digits multiply -----------------------------------------------------------


def _cycle_costs(works: dict[str, LayerWork], decided: _Decided) -> Costs:
    own, joints, base = decided.nothing(), [], 0
    for node, *_ in decided.runs:
        work = works[node.name]
        tile = choose_tile(work)[0]
        if work.parameters.dense and node.name in decided.weights:
            maps, weights = decided.maps[node.inputs["x"]], decided.weights[node.name]
            joints.append(Joint(maps, weights, _cycles(work, tile, decided.formats(maps), decided.formats(weights))))
        else:
            base += layer_cost(work, tile).cycles
    return Costs(_with_base(own, base), tuple(joints))


def _cycles(work: LayerWork, tile: Tile, maps: Sequence[BfpFormat], weights: Sequence[BfpFormat]) -> Numbers:
    rows = []
    for of_map in maps:
        read = replace(work, input=replace(work.input, format=of_map))
        rows.append([layer_cost(_with_weights(read, of_weight), tile).cycles for of_weight in weights])
    return np.array(rows, np.float64)


# -- Area: the array is as wide as the widest formats -----------------------------------------------------------------


def _area_costs(graph: Graph, config: Config, decided: _Decided) -> Costs:
    """Levels are mantissa bits of the maps that dense layers read, and of their weights."""
    architecture = size_architecture(graph, config.architecture, config.array_size)
    dense = [node for run in decided.runs for node in run if isinstance(node.op, Conv)]
    multiplied = {decided.maps[node.inputs["x"]] for node in dense}, {decided.weights[node.name] for node in dense}
    widths = [
        sorted({format.mantissa_bits for index in side for format in decided.formats(index)}) for side in multiplied
    ]
    levels = []
    for index in range(len(decided.decisions)):
        bits = [format.mantissa_bits for format in decided.formats(index)]
        sides = [
            [width.index(each) for each in bits] if index in side else [0] * len(bits)
            for side, width in zip(multiplied, widths, strict=True)
        ]
        levels.append(np.array(sides, np.intp).T)
    areas = [[array_luts(_with_widths(architecture, a, w)) for w in widths[1]] for a in widths[0]]
    return Costs(tuple(decided.nothing()), (), Peak(tuple(levels), np.array(areas)))


def _with_widths(architecture: Architecture, activation_bits: int, weight_bits: int) -> Architecture:
    """The array for other widths; maps that have their sign beside the mantissa bits keep it."""
    sign = int(architecture.feature_bits > architecture.activation_bits)
    return replace(
        architecture,
        activation_bits=activation_bits,
        feature_bits=activation_bits + sign,
        weight_bits=weight_bits,
        dense_weight_bits=weight_bits,
    )
