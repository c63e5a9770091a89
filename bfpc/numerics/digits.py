"""Mantissas as digits: how an array of narrow multipliers takes wide formats.

    M * 2**(e + u) = sum over d of digit[d] * 2**(e + u + width * d)

The top digit has the mantissa's sign, those below it are not negative, so that a signed operand of `width + 1` bits
holds every digit. Each digit is a mantissa of its own, and all pairs of an activation's and a weight's digits add up
to the product of the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bfpc.numerics.format import BfpFormat


def digits_of(magnitude_bits: int, width: int) -> int:
    """How many digits of `width` bits a mantissa of so many bits has, its sign not counted: at least one."""
    return max(1, -(-magnitude_bits // width))


def split_digits(mantissas: NDArray[np.int16], format: BfpFormat, width: int) -> NDArray[np.int16]:
    """The digits of mantissas of any shape, the lowest first: [digits, *shape]."""
    count = digits_of(format.magnitude_bits, width)
    digits = np.stack([mantissas >> width * place for place in range(count)])
    digits[:-1] &= (1 << width) - 1
    return digits


def join_digits(digits: NDArray[np.int16], width: int) -> NDArray[np.int64]:
    """The inverse of `split_digits`."""
    places = width * np.arange(len(digits)).reshape(-1, *(1,) * (digits.ndim - 1))
    joined: NDArray[np.int64] = np.sum(digits.astype(np.int64) << places, axis=0)
    return joined
