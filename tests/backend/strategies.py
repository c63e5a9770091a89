"""Random formats and tensors for the backend's tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor

seeds = st.integers(0, 2**32 - 1)


@st.composite
def formats(draw: st.DrawFn, *, max_block: int = 64, signed: bool | None = None) -> BfpFormat:
    return BfpFormat(
        mantissa_bits=draw(st.integers(2, 12)),
        block_size=draw(st.sampled_from([size for size in BLOCK_SIZES if size <= max_block])),
        exponent_range=draw(st.integers(0, 31)),
        signed=draw(st.booleans()) if signed is None else signed,
        exponent=draw(st.integers(-20, 20)),
    )


def random_tensor(format: BfpFormat, shape: tuple[int, ...], offsets: tuple[int, ...], seed: int) -> BfpTensor:
    """A tensor of any mantissas and offsets of the format, its extremes included."""
    rng = np.random.default_rng(seed)
    mantissas = rng.integers(format.min_mantissa, format.max_mantissa, shape, endpoint=True)
    exponents = rng.integers(0, format.exponent_range, offsets, endpoint=True)
    return BfpTensor(format, mantissas.astype(np.int16), exponents.astype(np.uint8))


def random_map(format: BfpFormat, shape: tuple[int, int, int], seed: int) -> BfpTensor:
    return random_tensor(format, shape, (-(-shape[0] // format.block_size), *shape[1:]), seed)
