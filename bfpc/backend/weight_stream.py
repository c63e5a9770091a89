"""Layers' parameters as bit-dense streams, in the order the accelerator uses them.

For each tile of k_vec output channels the stream holds each channel's parameters: bias, slope (PRelu) and exponent
offset (depthwise). And its weights:

- dense: for each vector of c_vec input channels, each tap, each output channel: the vector's blocks, each its exponent
  offset and its mantissas; input channels that do not exist take no bits. A channel's parameters stand in front of its
  first record;
- depthwise: behind all parameters, for each tap one mantissa per channel;
- pass: nothing.

Where a dense layer's map streams to the layer behind, both share a stream: a tile begins with the taps of that layer,
and its parameters stand in front of those of the dense one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.bit_packing import Bits, Words, from_bits, from_words, to_bits, to_words, words_for
from bfpc.numerics.format import BfpFormat, BfpTensor

SLOPE_BITS = 16


@dataclass(frozen=True)
class LayerParameters:
    """A layer's constants as integers: weights (None for a pass), bias and slope [output channels], table [4096].

    The table isn't part of the stream.
    """

    channels: int
    weight: BfpTensor | None
    bias: NDArray[np.int64] | None = None
    slope: NDArray[np.int64] | None = None
    table: NDArray[np.int16] | None = None


@dataclass(frozen=True)
class ParameterLayout:
    """What it takes to find a layer's constants in its stream; `weight_shape` is that of the IR's mantissas."""

    channels: int
    weight_format: BfpFormat | None
    weight_shape: tuple[int, int, int, int] | None
    dense: bool
    bias_bits: int
    has_slope: bool
    c_vec: int
    k_vec: int

    @property
    def tiles(self) -> tuple[range, ...]:
        """The output channels of each tile."""
        starts = range(0, self.channels, self.k_vec)
        return tuple(range(start, min(start + self.k_vec, self.channels)) for start in starts)

    @property
    def offset_bits(self) -> int:
        """Bits of the exponent offset that a depthwise channel has for all of its taps."""
        return 0 if self.dense or self.weight_format is None else self.weight_format.exponent_bits

    @property
    def parameter_bits(self) -> int:
        """Bits of what the tail needs of one output channel."""
        return self.bias_bits + SLOPE_BITS * self.has_slope + self.offset_bits

    @property
    def channel_bits(self) -> int:
        """Bits of one output channel; a tile has this many per channel."""
        return self.parameter_bits + self.weight_record_bits

    @property
    def weight_bits(self) -> int:
        """Bits of one output channel's weights and exponent offsets."""
        if self.weight_format is None or self.weight_shape is None:
            return 0
        _, inputs, height, width = self.weight_shape
        offsets = height * width * -(-inputs // self.weight_format.block_size) if self.dense else 1
        mantissas = inputs * height * width * self.weight_format.mantissa_bits
        return mantissas + offsets * self.weight_format.exponent_bits

    @property
    def weight_record_bits(self) -> int:
        """The same without the offset among the parameters."""
        return self.weight_bits - self.offset_bits

    @property
    def record_bits(self) -> int:
        """Bits of a dense channel's first record of weights."""
        if not self.dense or self.weight_format is None or self.weight_shape is None:
            return 0
        return dense_record_bits(self.weight_format, min(self.c_vec, self.weight_shape[1]))

    @property
    def words(self) -> int:
        return words_for(self.channels * self.channel_bits)


Count = TypeVar("Count", int, NDArray[np.int64])


def dense_record_bits(format: BfpFormat, lanes: Count) -> Count:
    """Bits of so many lanes' mantissas and of the exponent offsets of their blocks."""
    return lanes * format.mantissa_bits + -(-lanes // format.block_size) * format.exponent_bits


Layers = Sequence[tuple[LayerParameters, ParameterLayout]]


def pack_layers(*layers: tuple[LayerParameters, ParameterLayout]) -> Words:
    """The stream of a layer, or that which two share: of the layer behind and of the dense one, in this order."""
    sections = [_pack_tile(layers, slice(tile.start, tile.stop)) for tile in layers[0][1].tiles]
    return to_words(np.concatenate(sections))


def _pack_tile(layers: Layers, part: slice) -> Bits:
    layout = layers[-1][1]
    empty: Bits = np.zeros((len(range(layout.channels)[part]), 0), np.uint8)
    fields = [empty, *(field for parameters, layout in layers for field in _pack_parameters(parameters, layout, part))]
    *behind, own = (_pack_weights(parameters, layout, part) for parameters, layout in layers)
    first = len(empty) * layout.record_bits
    records = np.concatenate([*fields, own[:first].reshape(len(empty), -1)], axis=1)
    return np.concatenate([*behind, records.reshape(-1), own[first:]])


def _pack_parameters(parameters: LayerParameters, layout: ParameterLayout, part: slice) -> list[Bits]:
    """The parameters of a tile's channels: [channels, bits] each."""
    fields: list[Bits] = []
    if parameters.bias is not None:
        fields.append(to_bits(parameters.bias[part], layout.bias_bits))
    if parameters.slope is not None:
        fields.append(to_bits(parameters.slope[part], SLOPE_BITS))
    if layout.offset_bits and parameters.weight is not None:
        fields.append(to_bits(parameters.weight.offsets[part], layout.offset_bits))
    return fields


def _pack_weights(parameters: LayerParameters, layout: ParameterLayout, part: slice) -> Bits:
    weight = parameters.weight
    if weight is None:
        return np.zeros(0, np.uint8)
    if layout.dense:
        vectors = _pack_dense(BfpTensor(weight.format, weight.mantissas[part], weight.offsets[part]), layout.c_vec)
        return np.concatenate(vectors)
    return to_bits(weight.mantissas[part, 0].transpose(1, 2, 0), weight.format.mantissa_bits).reshape(-1)


def _pack_dense(weight: BfpTensor, c_vec: int) -> list[Bits]:
    """One stream per vector of c_vec input channels."""
    per_vector = c_vec // weight.format.block_size
    inputs = weight.mantissas.shape[1]
    return [
        _pack_vector(
            weight.mantissas[:, first : first + c_vec],
            weight.offsets[:, vector * per_vector : (vector + 1) * per_vector],
            weight.format,
        )
        for vector, first in enumerate(range(0, inputs, c_vec))
    ]


def _pack_vector(mantissas: NDArray[np.int16], offsets: NDArray[np.uint8], format: BfpFormat) -> Bits:
    """mantissas [outputs, inputs, height, width], offsets [outputs, blocks, height, width] to their stream.

    Only the last block can lack channels, so a record is the beginning of one with whole blocks.
    """
    outputs, inputs, height, width = mantissas.shape
    blocks, size, exponent_bits = offsets.shape[1], format.block_size, format.exponent_bits
    padded = np.zeros((height, width, outputs, blocks * size), np.int16)
    padded[..., :inputs] = mantissas.transpose(2, 3, 0, 1)
    records: Bits = np.empty((height, width, outputs, blocks, exponent_bits + size * format.mantissa_bits), np.uint8)
    records[..., :exponent_bits] = to_bits(offsets.transpose(2, 3, 0, 1), exponent_bits)
    fields = to_bits(padded, format.mantissa_bits)
    records[..., exponent_bits:] = fields.reshape(height, width, outputs, blocks, -1)
    record_bits = dense_record_bits(format, inputs)
    return records.reshape(height, width, outputs, -1)[..., :record_bits].reshape(-1)


def unpack_layers(words: Words, *layouts: ParameterLayout) -> list[LayerParameters]:
    """The constants of the layers of a stream, in its order: the inverse of `pack_layers`."""
    stream = _BitReader(from_words(words))
    tiles = [_unpack_tile(stream, layouts, len(tile)) for tile in layouts[0].tiles]
    return [_joined(layout, parts) for layout, parts in zip(layouts, zip(*tiles, strict=True), strict=True)]


def _unpack_tile(stream: _BitReader, layouts: Sequence[ParameterLayout], channels: int) -> list[LayerParameters]:
    *behind, own = layouts
    weights = [stream.take_bits(channels * layout.weight_record_bits) for layout in behind]
    parameters = sum(layout.parameter_bits for layout in layouts)
    records = _BitReader(stream.take_bits(channels * (parameters + own.record_bits)).reshape(channels, -1))
    fields = [_BitReader(records.take_bits(layout.parameter_bits)) for layout in layouts]
    first = records.take_bits(own.record_bits).reshape(-1)
    weights.append(np.concatenate([first, stream.take_bits(channels * own.weight_record_bits - first.size)]))
    return [_unpack_channels(*each, channels) for each in zip(fields, map(_BitReader, weights), layouts, strict=True)]


def _joined(layout: ParameterLayout, tiles: Sequence[LayerParameters]) -> LayerParameters:
    weights = [tile.weight for tile in tiles if tile.weight is not None]
    weight = None
    if layout.weight_format is not None:
        mantissas = np.concatenate([part.mantissas for part in weights])
        weight = BfpTensor(layout.weight_format, mantissas, np.concatenate([part.offsets for part in weights]))
    biases = [tile.bias for tile in tiles if tile.bias is not None]
    slopes = [tile.slope for tile in tiles if tile.slope is not None]
    bias, slope = (np.concatenate(parts) if parts else None for parts in (biases, slopes))
    return LayerParameters(layout.channels, weight, bias, slope)


def _unpack_channels(fields: _BitReader, stream: _BitReader, layout: ParameterLayout, channels: int) -> LayerParameters:
    bias = from_bits(fields.take_bits(layout.bias_bits), signed=True) if layout.bias_bits else None
    slope = from_bits(fields.take_bits(SLOPE_BITS), signed=True) if layout.has_slope else None
    weight = None
    if layout.weight_format is not None and layout.weight_shape is not None:
        shape = (channels, *layout.weight_shape[1:])
        if layout.dense:
            weight = _unpack_dense(stream, layout.weight_format, shape, layout.c_vec)
        else:
            offsets = from_bits(fields.take_bits(layout.offset_bits), signed=False)
            weight = _unpack_depthwise(stream, layout.weight_format, shape, offsets)
    return LayerParameters(channels, weight, bias, slope)


class _BitReader:
    """Takes fields off the front of a stream, or of each of several: bits [..., bits]."""

    def __init__(self, bits: Bits) -> None:
        self._bits, self._position = bits, 0

    def take_bits(self, count: int) -> Bits:
        start = self._position
        self._position += count
        return self._bits[..., start : self._position]


def _unpack_depthwise(
    stream: _BitReader, format: BfpFormat, shape: tuple[int, int, int, int], offsets: NDArray[np.int64]
) -> BfpTensor:
    channels, _, height, width = shape
    bits = stream.take_bits(height * width * channels * format.mantissa_bits)
    mantissas = from_bits(bits.reshape(height, width, channels, format.mantissa_bits), signed=True)
    return BfpTensor(format, mantissas.transpose(2, 0, 1)[:, None].astype(np.int16), offsets.astype(np.uint8))


def _unpack_dense(stream: _BitReader, format: BfpFormat, shape: tuple[int, int, int, int], c_vec: int) -> BfpTensor:
    outputs, inputs, height, width = shape
    mantissas = np.empty(shape, np.int16)
    offsets = np.empty((outputs, -(-inputs // format.block_size), height, width), np.uint8)
    for first in range(0, inputs, c_vec):
        lanes = min(c_vec, inputs - first)
        blocks, first_block = -(-lanes // format.block_size), first // format.block_size
        block_bits = format.exponent_bits + format.block_size * format.mantissa_bits
        record_bits = dense_record_bits(format, lanes)
        records: Bits = np.zeros((height, width, outputs, blocks * block_bits), np.uint8)
        records[..., :record_bits] = stream.take_bits(height * width * outputs * record_bits).reshape(
            height, width, outputs, record_bits
        )
        parts = records.reshape(height, width, outputs, blocks, block_bits)
        fields = parts[..., format.exponent_bits :].reshape(height, width, outputs, -1, format.mantissa_bits)
        values = from_bits(fields, signed=True)[..., :lanes]
        mantissas[:, first : first + lanes] = values.transpose(2, 3, 0, 1)
        exponents = from_bits(parts[..., : format.exponent_bits], signed=False)
        offsets[:, first_block : first_block + blocks] = exponents.transpose(2, 3, 0, 1)
    return BfpTensor(format, mantissas, offsets)
