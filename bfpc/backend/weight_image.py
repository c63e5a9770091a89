"""The weight memory: the streams of all layers, then the tables of their activations, and what the streams cost.

A layer's stream is padded only at its end, to a whole 64-bit word. A table is TABLE_WORDS words; layers whose tables
are equal share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import Architecture
from bfpc.backend.bit_packing import WORD_BITS, Words, words_for
from bfpc.backend.weight_stream import SLOPE_BITS, LayerParameters, ParameterLayout, pack_layers, unpack_layers
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.layer import TABLE_BITS, TABLE_ENTRIES, signed_bits

TABLE_WORDS = TABLE_ENTRIES * TABLE_BITS // WORD_BITS


@dataclass(frozen=True)
class LayerImage:
    """Where a layer's stream lies, and its table if it has one: addresses and `words` in 64-bit words.

    Layers that run together have one stream.
    """

    address: int
    words: int
    layout: ParameterLayout
    table_address: int | None = None


@dataclass(frozen=True)
class WeightImage:
    """The weight memory and its layers by name."""

    words: Words
    layers: Mapping[str, LayerImage]

    @property
    def weights(self) -> int:
        """Weights stored, biases and slopes not counted."""
        return sum(_weight_count(layer.layout) for layer in self.layers.values())

    @property
    def bits_per_weight(self) -> float:
        """The streams, biases, slopes and word padding included but no tables, over the number of weights."""
        streams = {layer.address: layer.words for layer in self.layers.values()}  # some are shared
        return sum(streams.values()) * WORD_BITS / max(1, self.weights)

    @property
    def ideal_bits_per_weight(self) -> float:
        """Mantissa bits plus exponent bits over block size, averaged over the weights."""
        ideals = ((_weight_count(layer.layout), layer.layout.weight_format) for layer in self.layers.values())
        bits = sum(n * (f.mantissa_bits + f.exponent_bits / f.block_size) for n, f in ideals if f is not None)
        return bits / max(1, self.weights)


def _weight_count(layout: ParameterLayout) -> int:
    return int(np.prod(layout.weight_shape)) if layout.weight_shape is not None else 0


def pack_weights(graph: Graph, architecture: Architecture) -> WeightImage:
    """The weight memory of a quantized graph.

    Raises CapacityError where a PRelu's slope needs more than 16 bits.
    """
    parameters, layers = _place(graph, architecture)
    streams = [
        pack_layers(*((parameters[node.name], layers[node.name].layout) for node in reversed(run)))
        for run in graph.runs
    ]
    tables = {
        image.table_address: _table_words(table)
        for name, image in layers.items()
        if (table := parameters[name].table) is not None
    }
    return WeightImage(np.concatenate([*streams, *tables.values()]), layers)


def place_weights(graph: Graph, architecture: Architecture) -> dict[str, LayerImage]:
    """The layers of the weight memory, without its words. Raises what `pack_weights` does."""
    return _place(graph, architecture)[1]


def _place(graph: Graph, architecture: Architecture) -> tuple[dict[str, LayerParameters], dict[str, LayerImage]]:
    parameters = {node.name: layer_parameters(graph, node) for node in graph.layers}
    layouts = {node.name: _layout(node, parameters[node.name], architecture) for node in graph.layers}
    tables = {name: part.table.tobytes() for name, part in parameters.items() if part.table is not None}
    places = {table: TABLE_WORDS * index for index, table in enumerate(dict.fromkeys(tables.values()))}
    layers: dict[str, LayerImage] = {}
    address = 0
    for run in graph.runs:
        words = _stream_words(layouts[node.name] for node in run)
        layers |= {node.name: LayerImage(address, words, layouts[node.name]) for node in run}
        address += words
    for name, table in tables.items():
        layers[name] = replace(layers[name], table_address=address + places[table])
    return parameters, {node.name: layers[node.name] for node in graph.layers}


def _stream_words(layouts: Iterable[ParameterLayout]) -> int:
    """The words of a stream that layers of as many channels share."""
    return words_for(sum(layout.channels * layout.channel_bits for layout in layouts))


def _table_words(table: NDArray[np.int16]) -> Words:
    return table.astype("<i2").view("<u8").astype(np.uint64, copy=False)


def layer_parameters(graph: Graph, node: Node) -> LayerParameters:
    """The constants that a layer of a quantized graph reads."""
    bias, slope = (_integers(graph, node, role) for role in ("bias", "slope"))
    table = graph.array(node.inputs["table"]) if "table" in node.inputs else None
    return LayerParameters(node.output.shape[0], graph.weight(node), bias, slope, table)


def _integers(graph: Graph, node: Node, role: str) -> NDArray[np.int64] | None:
    if role not in node.inputs:
        return None
    constant = graph.constants[node.inputs[role]]
    assert isinstance(constant, np.ndarray), f"{node.name}: {role} is not quantized"
    return constant.astype(np.int64, casting="safe", copy=False)


def _layout(node: Node, parameters: LayerParameters, architecture: Architecture) -> ParameterLayout:
    weight, bias, slope = parameters.weight, parameters.bias, parameters.slope
    if slope is not None and signed_bits(_largest(slope)) > SLOPE_BITS:
        raise CapacityError(
            f"a slope of {_largest(slope) / 256:g} does not fit the {SLOPE_BITS} bits of a slope",
            where=f"PRelu of {node.name}",
            fix="keep slopes between -127 and 127",
        )
    return ParameterLayout(
        channels=parameters.channels,
        weight_format=None if weight is None else weight.format,
        weight_shape=None if weight is None else _shape(weight),
        dense=isinstance(node.op, Conv),
        bias_bits=0 if bias is None else -(-signed_bits(_largest(bias)) // 8) * 8,
        has_slope=slope is not None,
        c_vec=architecture.c_vec,
        k_vec=architecture.k_vec,
    )


def _largest(values: NDArray[np.int64]) -> int:
    return int(np.abs(values).max(initial=0))


def _shape(weight: BfpTensor) -> tuple[int, int, int, int]:
    outputs, inputs, height, width = weight.mantissas.shape
    return outputs, inputs, height, width


def unpack_weights(words: Words, layers: Mapping[str, LayerImage]) -> dict[str, LayerParameters]:
    """The constants of every layer from the weight memory, by layer name.

    Raises ValueError where some lie beyond it.
    """
    for name, image in layers.items():
        ends = image.address + image.words, 0 if image.table_address is None else image.table_address + TABLE_WORDS
        if max(ends) > words.size:
            raise ValueError(f"the constants of {name} lie beyond the weight memory")
    found: dict[str, LayerParameters] = {}
    for names in _sharing(layers):
        layouts, first = [layers[name].layout for name in names], layers[names[0]]
        if first.words != _stream_words(layouts) or len({layout.channels for layout in layouts}) > 1:
            raise ValueError(f"the constants of {', '.join(names)} do not fill their words")
        stream = words[first.address : first.address + first.words]
        found |= zip(names, unpack_layers(stream, *layouts), strict=True)
    return {name: replace(found[name], table=_table(words, image)) for name, image in layers.items()}


def _sharing(layers: Mapping[str, LayerImage]) -> list[list[str]]:
    """The layers of each stream, in its order: those that run together have one address, and the last comes first."""
    streams: list[list[str]] = []
    for name, image in layers.items():
        before = layers[streams[-1][0]] if streams else None
        if before is not None and image.words and (image.address, image.words) == (before.address, before.words):
            streams[-1].insert(0, name)
        else:
            streams.append([name])
    return streams


def _table(words: Words, image: LayerImage) -> NDArray[np.int16] | None:
    if image.table_address is None:
        return None
    table = words[image.table_address : image.table_address + TABLE_WORDS].astype("<u8", copy=False).view("<i2")
    return table.astype(np.int16, copy=False)
