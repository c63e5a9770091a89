"""What there is to decide: for each map and each constant of weights the formats that it may take.

Maps that are joined, and views of channels, take one format together, and so do layers that read the same weights; each
is one decision. What the config's overrides, `formats.output` or `formats.input` fix leaves nothing to decide: such a
decision has a single option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np

from bfpc.config import Config
from bfpc.config_sections import BlockFormat, Format
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise, Layer
from bfpc.numerics.format import BfpFormat
from bfpc.passes.assign_formats import assign_formats, format_owners, layer_formats, top_of


@dataclass(frozen=True)
class Option:
    """A format as the config says it, and as each member's tensor is stored in it, its window placed."""

    format: Format
    stored: tuple[BfpFormat, ...]


@dataclass(frozen=True)
class Decision:
    """What takes one format.

    name: the node whose format the config sets; of the network's inputs the first of them.
    members: the values that are quantized, or the layers whose weights are.
    """

    kind: Literal["input", "map", "weight"]
    name: str
    members: tuple[str, ...]
    options: tuple[Option, ...]


def searched_config(config: Config) -> Config:
    """The config with the array's size fixed to one that holds every block that the search may choose."""
    search, settings = config.search, config.architecture
    fitting = [size for size in search.block_sizes if _fits(size, settings.block, settings.k_vec)]
    if not fitting:
        fix = f"let search.block_sizes hold {settings.block} or more, and no more than {settings.k_vec}"
        raise ConfigError("no block size fits the array", where="search.block_sizes", fix=fix)
    block = {"block_size": max(fitting)}
    array = with_formats(config, block, block).array_size
    fixed = settings.model_copy(update={"c_vec": array.c_vec, "k_vec": array.k_vec})
    chosen = search.model_copy(update={"block_sizes": tuple(sorted(set(fitting)))})
    return config.model_copy(update={"architecture": fixed, "search": chosen})


def _fits(size: int, least: int | str, most: int | str) -> bool:
    return (isinstance(least, str) or size >= least) and (isinstance(most, str) or size <= most)


def with_formats(config: Config, activation: Mapping[str, Any], weight: Mapping[str, Any]) -> Config:
    """The config with these changes to what it gives to all maps, and to all weights."""
    formats, depthwise = config.formats, {key: weight[key] for key in weight if key in Format.model_fields}
    changed = {
        "activation": formats.activation.model_copy(update=dict(activation)),
        "weight": formats.weight.model_copy(update=dict(weight)),
        "depthwise_weight": formats.depthwise_weight.model_copy(update=depthwise),
    }
    return config.model_copy(update={"formats": formats.model_copy(update=changed)})


def list_decisions(graph: Graph, config: Config, largest: Mapping[str, float]) -> tuple[Decision, ...]:
    """The decisions of a network of float layers, each with at least one option.

    config: see `searched_config`; largest: for every value the largest magnitude it took in calibration.
    """
    return (*_map_decisions(graph, config, largest), *_weight_decisions(graph, config))


def _candidates(config: Config, widths: Sequence[int]) -> Iterator[dict[str, int]]:
    for bits, block in product(sorted(set(widths)), config.search.block_sizes):
        yield {"mantissa_bits": bits, "block_size": block}


def _map_decisions(graph: Graph, config: Config, largest: Mapping[str, float]) -> Iterator[Decision]:
    owners, inputs = format_owners(graph), [value.name for value in graph.values]
    nodes = {node.name: node for node in graph.nodes}
    groups: dict[str, list[str]] = {}
    for name, owner in owners.items():
        if name in inputs or isinstance(nodes[name].op, Layer):
            groups.setdefault(inputs[0] if owner in inputs else owner, []).append(name)
    found: dict[str, dict[Format, tuple[BfpFormat, ...]]] = {owner: {} for owner in groups}
    for change in _candidates(config, config.search.activation_bits):
        candidate = with_formats(config, change, {})
        assigned = assign_formats(graph, candidate, largest)
        for owner, members in groups.items():
            is_input = owner in inputs
            given = candidate.input_format if is_input else layer_formats(graph, candidate, nodes[owner]).activation
            found[owner].setdefault(given, tuple(assigned.format(member) for member in members))
    for owner, members in groups.items():
        options = tuple(Option(format, stored) for format, stored in found[owner].items())
        yield Decision("input" if owner in inputs else "map", owner, tuple(members), options)


def _weight_decisions(graph: Graph, config: Config) -> Iterator[Decision]:
    readers: dict[str, list[Node]] = {}
    for node in graph.layers:
        if "weight" in node.inputs:
            readers.setdefault(node.inputs["weight"], []).append(node)
    for constant, nodes in readers.items():
        weight = graph.array(constant)
        top, taps = top_of(float(np.abs(weight).max(initial=0))), prod(weight.shape[2:])
        found: dict[Format, tuple[BfpFormat, ...]] = {}
        for change in _candidates(config, config.search.weight_bits):
            formats = layer_formats(graph, with_formats(config, {}, change), nodes[0])
            chosen = formats.depthwise_weight if isinstance(nodes[0].op, Depthwise) else formats.weight
            block = chosen.block_size if isinstance(chosen, BlockFormat) else taps
            stored = BfpFormat(chosen.mantissa_bits, block, chosen.exponent_range).with_top(top)
            found.setdefault(chosen, (stored,) * len(nodes))
        options = tuple(Option(format, stored) for format, stored in found.items())
        yield Decision("weight", nodes[0].name, tuple(node.name for node in nodes), options)
