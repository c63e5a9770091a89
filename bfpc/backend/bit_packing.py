"""Integers as bit streams and 64-bit words, in bulk.

Bit i of a stream is bit i % 64 of word i // 64; an integer's lowest bit comes first. While a stream is put together
its bits are bytes of 0 or 1, so that slicing and joining streams is slicing and joining arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 64
WORD_BYTES = WORD_BITS // 8

Bits = NDArray[np.uint8]
Words = NDArray[np.uint64]


def words_for(bits: int) -> int:
    """Words that hold `bits` bits."""
    return -(-bits // WORD_BITS)


def to_bits(values: NDArray[np.integer], width: int) -> Bits:
    """The low `width` (at most 64) bits of each integer: [..., n] to [..., n, width]."""
    container = _container(width)
    raw = np.ascontiguousarray(values.astype(f"<i{container}", copy=False)).view(np.uint8)
    bits = np.unpackbits(raw.reshape(-1), bitorder="little").reshape(*values.shape, 8 * container)
    return bits[..., :width]


def from_bits(bits: Bits, *, signed: bool) -> NDArray[np.int64]:
    """The inverse of `to_bits`: [..., n, width] to [..., n]."""
    width = bits.shape[-1]
    container = _container(width)
    padded = np.zeros((*bits.shape[:-1], 8 * container), np.uint8)
    padded[..., :width] = bits
    values = np.packbits(padded.reshape(-1), bitorder="little").view(f"<u{container}").astype(np.int64)
    if signed:
        values -= (values >> (width - 1) & 1) << width
    return values.reshape(bits.shape[:-1])


def to_words(bits: Bits) -> Words:
    """Streams of bits [..., n], each padded with zeros to whole words: [..., words_for(n)]."""
    length = bits.shape[-1]
    padded = bits
    if length % WORD_BITS:
        padded = np.zeros((*bits.shape[:-1], words_for(length) * WORD_BITS), np.uint8)
        padded[..., :length] = bits
    words = np.packbits(padded.reshape(-1), bitorder="little").view("<u8")
    return words.reshape(*bits.shape[:-1], words_for(length)).astype(np.uint64, copy=False)


def from_words(words: Words) -> Bits:
    """The bits of streams of words: [..., n] to [..., 64 * n]."""
    raw = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(raw.reshape(-1), bitorder="little").reshape(*words.shape[:-1], -1)


def _container(width: int) -> int:
    """Bytes of the smallest integer type with at least `width` bits."""
    return next(size for size in (1, 2, 4, 8) if 8 * size >= width)
