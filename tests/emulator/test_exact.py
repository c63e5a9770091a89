"""Convolutions cut into parts that float32 holds: each part's largest sum, worked out from its weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bfpc.emulator.exact import FLOAT32_LIMIT, Split, split_convolution


def drawn_weights(seed: int, bits: int, units: int) -> NDArray[np.int64]:
    """[output channels, input channels, taps], each output channel a multiple of a power of two of its own."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-(1 << bits), (1 << bits) + 1, (6, 40, 9))
    return weights << rng.integers(0, units + 1, (6, 1, 1))


def significant_bits(weights: NDArray[np.int64], split: Split, *, signed: bool) -> int:
    """Of the largest sum of any part: from its channel's last bit that can be set to its first."""
    most = 0
    for part in split.weights.split(weights):
        for chunk in split.chunks:
            for channel, whole in zip(part[:, chunk], part, strict=True):
                unit = int(np.gcd.reduce(whole.ravel()))
                positive, negative = np.maximum(channel, 0).sum(), np.maximum(-channel, 0).sum()
                one_sided = not signed and split.activations.count == 1
                total = max(positive, negative) if one_sided else positive + negative
                most = max(most, int(total) * split.activations.bound // max(unit & -unit, 1))
    return most


@given(st.integers(0, 2**32), st.integers(1, 14), st.integers(0, 8), st.integers(1, 1 << 19), st.booleans())
def test_every_part_fits_a_float32(seed: int, bits: int, units: int, activation_bound: int, signed: bool) -> None:
    weights = drawn_weights(seed, bits, units)
    split = split_convolution(weights, activation_bound, signed=signed)
    assert significant_bits(weights, split, signed=signed) <= FLOAT32_LIMIT


@given(st.integers(0, 2**32), st.integers(1, 10))
def test_what_a_channel_is_a_multiple_of_takes_no_more_parts(seed: int, units: int) -> None:
    plain = drawn_weights(seed, 4, 0)
    scaled = plain << np.random.default_rng(seed).integers(0, units + 1, (6, 1, 1))
    assert (
        split_convolution(scaled, 31 << 7, signed=False).parts == split_convolution(plain, 31 << 7, signed=False).parts
    )
