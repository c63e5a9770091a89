"""How feature maps lie in memory.

A tensor is a sequence of groups of `group` channels (the accelerator's k_vec). A group is a plane of rows; a row is a
bit-dense run of records, one per column, padded to a whole number of 64-bit words. A record holds, for each block of
the group, the block's exponent offset and then its mantissas. The last group holds fewer blocks where the channels end,
but always whole ones: mantissas beyond the last channel are 0. Groups follow each other without gaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.bit_packing import WORD_BITS, Bits, Words, from_bits, from_words, to_bits, to_words, words_for
from bfpc.ir.graph import Shape
from bfpc.numerics.format import BfpFormat, BfpTensor


@dataclass(frozen=True)
class FeatureLayout:
    """The layout of one tensor of `shape` (channels, height, width) in groups of `group` channels."""

    shape: Shape
    format: BfpFormat
    group: int

    @property
    def block_bits(self) -> int:
        return self.format.exponent_bits + self.format.block_size * self.format.mantissa_bits

    @property
    def groups(self) -> int:
        return -(-self.shape[0] // self.group)

    def blocks(self, group: int) -> int:
        """Blocks of a record of a group."""
        channels = min(self.group, self.shape[0] - group * self.group)
        return -(-channels // self.format.block_size)

    def record_bits(self, group: int) -> int:
        return self.blocks(group) * self.block_bits

    def row_words(self, group: int) -> int:
        return words_for(self.shape[2] * self.record_bits(group))

    def group_words(self, group: int) -> int:
        return self.shape[1] * self.row_words(group)

    @property
    def words(self) -> int:
        return sum(self.group_words(group) for group in range(self.groups))

    def region_words(self, group: int, rows: int, first_column: int, end_column: int) -> int:
        """Words that hold the columns [first_column, end_column) of `rows` rows of a group."""
        if end_column <= first_column:
            return 0
        bits = self.record_bits(group)
        return rows * (words_for(end_column * bits) - first_column * bits // WORD_BITS)


def pack(tensor: BfpTensor, group: int) -> Words:
    """The words of a feature map: mantissas [channels, height, width], offsets [blocks, height, width]."""
    channels, height, width = tensor.mantissas.shape
    layout = FeatureLayout((channels, height, width), tensor.format, group)
    blocks, size = tensor.offsets.shape[0], tensor.format.block_size
    padded = np.zeros((blocks * size, height, width), np.int16)
    padded[:channels] = tensor.mantissas
    mantissas = padded.reshape(blocks, size, height, width)
    return np.concatenate(
        [_pack_group(mantissas[part], tensor.offsets[part], tensor.format) for part in _group_blocks(layout)]
    )


def unpack(words: Words, shape: Shape, format: BfpFormat, group: int) -> BfpTensor:
    """The inverse of `pack`, for a map of `shape` (channels, height, width)."""
    layout = FeatureLayout(shape, format, group)
    mantissas, offsets, start = [], [], 0
    for index in range(layout.groups):
        end = start + layout.group_words(index)
        rows = words[start:end].reshape(shape[1], -1)
        group_mantissas, group_offsets = _unpack_group(rows, layout.blocks(index), shape[2], format)
        mantissas.append(group_mantissas)
        offsets.append(group_offsets)
        start = end
    joined = np.concatenate(mantissas).reshape(-1, *shape[1:])[: shape[0]]
    return BfpTensor(format, joined.astype(np.int16), np.concatenate(offsets).astype(np.uint8))


def _group_blocks(layout: FeatureLayout) -> Iterator[slice]:
    per_group = layout.group // layout.format.block_size
    for group in range(layout.groups):
        yield slice(group * per_group, group * per_group + layout.blocks(group))


def _pack_group(mantissas: NDArray[np.int16], offsets: NDArray[np.uint8], format: BfpFormat) -> Words:
    """mantissas [blocks, block, height, width] and offsets [blocks, height, width] to the words of the group."""
    blocks, size, height, width = mantissas.shape
    exponent_bits = format.exponent_bits
    records: Bits = np.empty((height, width, blocks, exponent_bits + size * format.mantissa_bits), np.uint8)
    records[..., :exponent_bits] = to_bits(offsets.transpose(1, 2, 0), exponent_bits)
    fields = to_bits(mantissas.transpose(2, 3, 0, 1), format.mantissa_bits)
    records[..., exponent_bits:] = fields.reshape(height, width, blocks, -1)
    return to_words(records.reshape(height, -1)).reshape(-1)


def _unpack_group(
    rows: Words, blocks: int, width: int, format: BfpFormat
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """rows [height, words] to mantissas [blocks, block, height, width] and offsets [blocks, height, width]."""
    height, exponent_bits = rows.shape[0], format.exponent_bits
    block_bits = exponent_bits + format.block_size * format.mantissa_bits
    records = from_words(rows)[:, : width * blocks * block_bits].reshape(height, width, blocks, block_bits)
    fields = records[..., exponent_bits:].reshape(height, width, blocks, format.block_size, format.mantissa_bits)
    mantissas = from_bits(fields, signed=format.signed)
    offsets = from_bits(records[..., :exponent_bits], signed=False)
    return mantissas.transpose(2, 3, 0, 1), offsets.transpose(2, 0, 1)
