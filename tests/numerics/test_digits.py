"""Digits of mantissas: they fit narrow operands, join to the whole, and their products add up to its product."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bfpc.numerics.digits import digits_of, join_digits, split_digits
from bfpc.numerics.format import BfpFormat

formats = st.builds(BfpFormat, st.integers(2, 12), st.just(16), st.just(7), st.booleans())
widths = st.integers(2, 12)


def every_mantissa(format: BfpFormat) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.arange(format.min_mantissa, format.max_mantissa + 1, dtype=np.int16)


@given(formats, widths)
def test_digits_join_to_the_mantissa_and_fit_an_operand_of_one_bit_more(format: BfpFormat, width: int) -> None:
    mantissas = every_mantissa(format)
    digits = split_digits(mantissas, format, width)
    assert len(digits) == digits_of(format.magnitude_bits, width)
    assert np.array_equal(join_digits(digits, width), mantissas)
    assert digits[:-1].min(initial=0) >= 0
    assert digits[:-1].max(initial=0) < 1 << width
    assert -(1 << width) <= digits[-1].min() <= digits[-1].max() < 1 << width


@given(formats, widths)
def test_there_is_one_digit_where_a_mantissa_fits_the_operand_and_never_one_too_many(
    format: BfpFormat, width: int
) -> None:
    count = digits_of(format.magnitude_bits, width)
    assert (count == 1) == (format.min_mantissa >= -(1 << width) and format.max_mantissa < 1 << width)
    assert count == 1 or (1 << (count - 1) * width) <= format.max_mantissa


@given(formats, formats, widths, widths, st.integers(0, 2**32 - 1))
def test_the_shifted_dot_products_of_all_pairs_add_up(
    activation: BfpFormat, weight: BfpFormat, activation_width: int, weight_width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w = (rng.choice(every_mantissa(format), 40) for format in (activation, weight))
    total = 0
    for i, x_digit in enumerate(split_digits(x, activation, activation_width)):
        for j, w_digit in enumerate(split_digits(w, weight, weight_width)):
            total += int(x_digit.astype(int) @ w_digit.astype(int)) << activation_width * i + weight_width * j
    assert total == int(x.astype(int) @ w.astype(int))
