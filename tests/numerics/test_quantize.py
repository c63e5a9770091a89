"""The quantizers against the rule on exact rationals, and against each other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bfpc.numerics.format import BLOCK_SIZES, BfpFormat
from bfpc.numerics.quantize import (
    CHUNK_COLUMNS,
    block_offsets,
    dequantize,
    least_error_offsets,
    quantize,
    quantize_depthwise,
    quantize_integers,
    quantize_weights,
    round_planes,
)
from tests.numerics.rational_reference import quantize_block

INT4 = BfpFormat(4, 4, 3, exponent=-2)
UINT4 = BfpFormat(4, 4, 3, signed=False, exponent=-2)

formats = st.builds(
    BfpFormat,
    mantissa_bits=st.integers(2, 12),
    block_size=st.sampled_from(BLOCK_SIZES),
    exponent_range=st.integers(0, 31),
    signed=st.booleans(),
    exponent=st.integers(-30, 10),
)


@st.composite
def numbers(draw: st.DrawFn, format: BfpFormat) -> float:
    """Float32 numbers where the rule has its corners: ties, powers of two, the window's ends, zeros of either sign."""
    mantissa = draw(st.integers(-(2 << format.mantissa_bits), 2 << format.mantissa_bits))
    exponent = format.exponent + draw(st.integers(-3, format.exponent_range + 3))
    nudge = draw(st.sampled_from([0.0, 0.0, 0.5, 2.0**-9]))
    near = float(np.ldexp(np.float32(mantissa + nudge), exponent))
    power = draw(st.sampled_from([1.0, -1.0])) * 2.0 ** (exponent + format.magnitude_bits)
    anything = draw(st.floats(-(2.0**100), 2.0**100, width=32))
    value = draw(st.sampled_from([near, near, power, anything, 0.0, -0.0]))
    return value if format.signed else abs(value)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[BfpFormat, NDArray[np.float32]]:
    """A format, and a column of channels that need not fill its blocks."""
    format = draw(formats)
    channels = draw(st.integers(1, 2 * min(format.block_size, 12)))
    column = draw(st.lists(numbers(format), min_size=channels, max_size=channels))
    return format, np.array(column, np.float32)


def reference(column: NDArray[np.float32], format: BfpFormat) -> tuple[list[int], list[int]]:
    """Mantissas and offsets of a column of channels."""
    values = [Fraction(float(value)) for value in column]
    starts = range(0, len(values), format.block_size)
    quantized = [quantize_block(values[start : start + format.block_size], format) for start in starts]
    return [q for mantissas, _ in quantized for q in mantissas], [offset for _, offset in quantized]


def quantize_column(column: NDArray[np.float32], format: BfpFormat) -> tuple[list[int], list[int]]:
    mantissas, offsets = quantize(column.reshape(1, -1, 1, 1), format)
    return mantissas.ravel().tolist(), offsets.ravel().tolist()


@given(blocks())
@example((INT4, np.array([-4, 0, 0, 0], np.float32)))  # two's complement holds -2**k in one bit less than 2**k
@example((INT4, np.array([4, 0, 0, 0], np.float32)))
@example((INT4, np.array([0.125, 0.375, -0.125, -0.375], np.float32)))  # ties at the window's bottom
@example((INT4, np.array([13.5, 14.5, -15.5, -16], np.float32)))  # at its top, where one rounds beyond the mantissas
@example((INT4, np.array([17, -17, 1e30, -1e30], np.float32)))  # beyond it
@example((INT4, np.array([1e-45, -1e-45, -0.0, 0.0], np.float32)))
@example((UINT4, np.array([3.75, 3.875, 0, 0], np.float32)))
def test_real_numbers_follow_the_rule_on_exact_rationals(block: tuple[BfpFormat, NDArray[np.float32]]) -> None:
    format, column = block
    assert quantize_column(column, format) == reference(column, format)


@given(formats, st.integers(-24, 24), st.data())
def test_integers_follow_the_same_rule(format: BfpFormat, above: int, data: st.DataObject) -> None:
    """`above` is how far the integers' LSB lies above the base exponent; a left shift must fit 64 bits."""
    low = 0 if not format.signed else -(2**38)
    integers = st.integers(low, 2**38) | st.integers(0, 38).map(lambda k: -(2**k) if format.signed else 2**k)
    column = data.draw(st.lists(integers, min_size=1, max_size=2 * format.block_size))
    exponent = format.exponent + above
    mantissas, offsets = quantize_integers(np.array(column, np.int64), exponent, format)
    scale = Fraction(2) ** exponent
    for start in range(0, len(column), format.block_size):
        block = [value * scale for value in column[start : start + format.block_size]]
        expected = quantize_block(block, format, exponent)
        found = mantissas[start : start + format.block_size].tolist(), offsets[start // format.block_size]
        assert found == expected


@given(blocks())
def test_quantizing_twice_keeps_every_value(block: tuple[BfpFormat, NDArray[np.float32]]) -> None:
    """The value: what saturated at -2**k may come back as -1 times twice the power."""
    format, column = block
    once = dequantize(*quantize(column.reshape(1, -1, 1, 1), format), format)
    twice = dequantize(*quantize(once, format), format)
    np.testing.assert_array_equal(once, twice)


@given(formats, st.integers(0, 2**32 - 1))
def test_weights_are_quantized_like_maps(format: BfpFormat, seed: int) -> None:
    """Dense weights are maps of their taps; a depthwise channel's taps are one block."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 40)), *rng.integers(1, 4, 2))
    weight = (rng.standard_normal(shape) * 2.0 ** (format.exponent + rng.integers(0, 20))).astype(np.float32)
    weight = weight if format.signed else np.abs(weight)
    for found, expected in zip(quantize_weights(weight, format), quantize(weight, format), strict=True):
        np.testing.assert_array_equal(found, expected)

    filters = weight.reshape(-1, 1, *shape[2:])
    mantissas, offsets = quantize_depthwise(filters, format)
    for channel, taps in enumerate(filters):
        expected_taps, offset = quantize_block([Fraction(float(tap)) for tap in taps.ravel()], format)
        assert (mantissas[channel].ravel().tolist(), offsets[channel]) == (expected_taps, offset)


def test_maps_beyond_one_chunk_and_batches_are_quantized_position_by_position() -> None:
    width = CHUNK_COLUMNS // 2 + 1
    maps = np.random.default_rng(0).standard_normal((2, 6, 2, width), np.float32)
    mantissas, offsets = quantize(maps, INT4)
    for image, row, column in ((0, 0, 0), (0, 1, width - 1), (1, 0, width - 1), (1, 1, width // 2)):
        expected = reference(maps[image, :, row, column], INT4)
        assert (mantissas[image, :, row, column].tolist(), offsets[image, :, row, column].tolist()) == expected


@pytest.mark.parametrize(
    ("block_size", "mantissa_bits", "published"),
    [(16, 4, 18.75), (16, 5, 24.74), (16, 8, 42.89), (32, 4, 17.65), (32, 5, 23.63), (32, 8, 41.73)],
)
def test_signal_to_noise_ratio_of_normal_data_is_that_of_other_quantizers(
    block_size: int, mantissa_bits: int, published: float
) -> None:
    maps = np.random.default_rng(0).standard_normal((1, 64, 100, 100), np.float32)
    format = BfpFormat(mantissa_bits, block_size, 31).with_top(4)
    error = dequantize(*quantize(maps, format), format) - maps
    sqnr = 10 * np.log10(np.square(maps).sum() / np.square(error).sum())
    assert abs(sqnr - published) < 0.2


@given(formats, st.integers(0, 2**32 - 1))
def test_a_block_of_weights_may_saturate_its_largest_where_that_lessens_its_error(format: BfpFormat, seed: int) -> None:
    random = np.random.default_rng(seed)
    planes = (random.standard_normal((8, 50)) ** 3).astype(np.float32)
    placed = format.with_top(int(np.frexp(np.abs(planes).max())[1]))

    def errors(offsets: NDArray[np.uint8]) -> NDArray[np.float64]:
        step = np.ldexp(1.0, offsets.astype(np.int64) + placed.exponent)
        return np.asarray(np.square(round_planes(planes, offsets, placed) * step - planes).sum(axis=0))

    chosen, largest = least_error_offsets(planes, placed), block_offsets(planes, placed)
    assert (errors(chosen) <= errors(largest) * (1 + 1e-5)).all()
    assert ((chosen == largest) | (chosen + 1 == largest)).all()
    lower = np.maximum(largest, 1) - np.uint8(1)
    assert (errors(chosen) <= errors(lower) * (1 + 1e-5)).all()
