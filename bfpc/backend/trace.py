"""Feature maps as the C simulation reads and writes them: the network inputs, and the outputs of layers in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bfpc.backend.bit_packing import Words
from bfpc.backend.feature_memory import pack, unpack
from bfpc.backend.memory_plan import feature_layout
from bfpc.ir.graph import Graph
from bfpc.numerics.format import BfpTensor


def input_names(graph: Graph) -> tuple[str, ...]:
    """The maps that lie at the start of the feature memory, in order."""
    return tuple(value.name for value in graph.values)


def trace_names(graph: Graph) -> tuple[str, ...]:
    """The maps of a trace, in order: those that layers store."""
    return tuple(run[-1].name for run in graph.runs)


def pack_maps(names: Sequence[str], maps: Mapping[str, BfpTensor], group: int) -> Words:
    """The words of the named maps, one after the other, in groups of `group` channels."""
    return np.concatenate([pack(maps[name], group) for name in names])


def unpack_maps(graph: Graph, names: Sequence[str], words: Words, group: int) -> dict[str, BfpTensor]:
    """The inverse of `pack_maps` for maps of a quantized graph."""
    maps, start = {}, 0
    for name in names:
        layout = feature_layout(graph, name, group)
        maps[name] = unpack(words[start : start + layout.words], layout.shape, layout.format, group)
        start += layout.words
    return maps
