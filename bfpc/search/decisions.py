"""What there is to decide: for each map and each constant of weights the formats that it may take.

Maps that are joined, and views of channels, take one format together, and so do layers that read the same weights; each
is one decision. Its first option is the format that the config gives, overrides included; the others change mantissa
bits and block size, of weights also the exponent range. What `formats.output` or `formats.input` fix of the network's
outputs and inputs stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Literal, TypeVar

import numpy as np

from bfpc.config import Config
from bfpc.config_sections import ActivationFormat, BlockFormat, Format, Override
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise, Layer
from bfpc.numerics.format import BfpFormat
from bfpc.passes.assign_formats import assign_formats, format_owners, layer_formats, top_of

_AnyFormat = TypeVar("_AnyFormat", bound=Format)


@dataclass(frozen=True)
class Option:
    """A format as the config says it, and as each member's tensor is stored in it, its window placed."""

    format: Format
    stored: tuple[BfpFormat, ...]


@dataclass(frozen=True)
class Decision:
    """What takes one format.

    name: the node whose format the config sets; of the network's inputs the first of them.
    members: the values that are quantized, or the layers whose weights are. options: the given format first.
    """

    kind: Literal["input", "map", "weight"]
    name: str
    members: tuple[str, ...]
    options: tuple[Option, ...]


def searched_config(config: Config) -> Config:
    """The config with the array's size fixed to one that holds every block that the search may choose."""
    search, settings = config.search, config.architecture
    maps = _fitting("activation_block_sizes", search.activation_block_sizes, settings.block, settings.k_vec)
    weights = _fitting("weight_block_sizes", search.weight_block_sizes, settings.block, settings.c_vec)
    array = _with_blocks(config, max(maps), max(weights)).array_size
    fixed = settings.model_copy(update={"c_vec": array.c_vec, "k_vec": array.k_vec})
    chosen = search.model_copy(update={"activation_block_sizes": maps, "weight_block_sizes": weights})
    return config.model_copy(update={"architecture": fixed, "search": chosen})


def _fitting(key: str, sizes: Sequence[int], least: int | str, most: int | str) -> tuple[int, ...]:
    """The sizes that an array holds, of which `least` and `most` may be left to the compiler."""
    low = least if isinstance(least, int) else min(sizes)
    high = most if isinstance(most, int) else max(sizes)
    fitting = tuple(sorted({size for size in sizes if low <= size <= high}))
    if not fitting:
        fix = f"let search.{key} hold sizes from {low} to {high}"
        raise ConfigError("no block size fits the array", where=f"search.{key}", fix=fix)
    return fitting


def _with_blocks(config: Config, of_maps: int, of_weights: int) -> Config:
    """The config with the largest blocks that are to be, beside its own."""
    override = Override(
        name="*", activation=ActivationFormat(block_size=of_maps), weight=BlockFormat(block_size=of_weights)
    )
    return config.model_copy(update={"overrides": (*config.overrides, override)})


def list_decisions(graph: Graph, config: Config, largest: Mapping[str, float]) -> tuple[Decision, ...]:
    """The decisions of a network of float layers, each with at least one option.

    config: see `searched_config`; largest: for every value the largest magnitude it took in calibration.
    """
    return (*_map_decisions(graph, config, largest), *_weight_decisions(graph, config))


def _options(
    given: _AnyFormat, candidates: Mapping[str, Sequence[int]], fixed: Set[str] = frozenset()
) -> list[_AnyFormat]:
    """The given format, then what it becomes with each combination of the candidates, but for the keys fixed."""
    values = {key: getattr(given, key) for key in type(given).model_fields}
    free = values.keys() & candidates.keys() - fixed
    found = {tuple(values.values()): values}
    for combination in product(*(sorted(set(candidates[key])) for key in sorted(free))):
        changed = values | dict(zip(sorted(free), combination, strict=True))
        found.setdefault(tuple(changed.values()), changed)
    return [type(given)(**each) for each in found.values()]


def _map_decisions(graph: Graph, config: Config, largest: Mapping[str, float]) -> Iterator[Decision]:
    owners, inputs = format_owners(graph), [value.name for value in graph.values]
    nodes, search = {node.name: node for node in graph.nodes}, config.search
    assigned = assign_formats(graph, config, largest)
    groups: dict[str, list[str]] = {}
    for name, owner in owners.items():
        if name in inputs or isinstance(nodes[name].op, Layer):
            groups.setdefault(inputs[0] if owner in inputs else owner, []).append(name)
    for owner, members in groups.items():
        fixed: Set[str] = set()
        if owner in inputs:
            given, fixed = config.input_format, config.formats.input.model_fields_set
        else:
            given = layer_formats(graph, config, nodes[owner]).activation
            if owner in graph.output_names:
                fixed = config.formats.output.model_fields_set
        tops = [top_of(largest[owners[member]]) for member in members]
        candidates = {"mantissa_bits": search.activation_bits, "block_size": search.activation_block_sizes}
        placed = [(assigned.format(member), top) for member, top in zip(members, tops, strict=True)]
        options = tuple(
            Option(each, tuple(_stored(had, each, top) for had, top in placed))
            for each in _options(given, candidates, fixed)
        )
        yield Decision("input" if owner in inputs else "map", owner, tuple(members), options)


def _stored(given: BfpFormat, format: ActivationFormat, top: int) -> BfpFormat:
    """A map's format with other mantissas and blocks."""
    bits = format.stored_bits(signed=given.signed)
    return replace(given, mantissa_bits=bits, block_size=format.block_size).with_top(top)


def _weight_decisions(graph: Graph, config: Config) -> Iterator[Decision]:
    readers: dict[str, list[Node]] = {}
    for node in graph.layers:
        if "weight" in node.inputs:
            readers.setdefault(node.inputs["weight"], []).append(node)
    search = config.search
    candidates = {
        "mantissa_bits": search.weight_bits,
        "block_size": search.weight_block_sizes,
        "exponent_range": search.weight_exponent_ranges,
    }
    for constant, nodes in readers.items():
        weight = graph.array(constant)
        top, taps = top_of(float(np.abs(weight).max(initial=0))), prod(weight.shape[2:])
        formats = layer_formats(graph, config, nodes[0])
        given = formats.depthwise_weight if isinstance(nodes[0].op, Depthwise) else formats.weight
        options = []
        for chosen in _options(given, candidates):
            block = chosen.block_size if isinstance(chosen, BlockFormat) else taps
            stored = BfpFormat(chosen.mantissa_bits, block, chosen.exponent_range).with_top(top)
            options.append(Option(chosen, (stored,) * len(nodes)))
        yield Decision("weight", nodes[0].name, tuple(node.name for node in nodes), tuple(options))
