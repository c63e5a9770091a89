"""The integer parameters of one quantized layer: what the emulator, the schedule and the hardware all read.

The array makes integer accumulators whose LSB weighs `2**accumulator_exponent`. The tail then computes, in order,

    t = (accumulator + bias) << accumulator_shift
    t = t + (r << residual_shift), or -, or t * r           r = M << u of the residual
    t = min(max(t, clip_low), clip_high)                    for Clip
    t = t << 8 if t >= 0 else t * slope                     for PRelu, slope = round(256 * slope)
    t = table[min(max(round(t / 2**table_shift) + table_offset, 0), 4095)]      for Table, ties to even
    t = t * table[row or column]                            for PositionScale, table = round(2**15 * number)
    t = max(t) or sum(t) * reciprocal(count)                over the pooling window

and quantizes `t`, whose LSB then weighs `2**output_exponent`, to the output's format.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOPE_SHIFT = 8
POSITION_SCALE_SHIFT = 15
TABLE_ENTRIES = 4096
TABLE_BITS = 16  # of an entry, two's complement
MAX_ACCUMULATOR_BITS = 48
MAX_TAIL_BITS = 54  # a float64 significand and a sign: the emulator stays exact


@dataclass(frozen=True)
class LayerArithmetic:
    """Exponents, shifts and proved widths of a layer; see the module's text. Bounds are on magnitudes, in LSBs.

    accumulator_bound: the largest magnitude any input can cause in the array; `accumulator_bits` holds it.
    position_bound: the largest magnitude at a position of the tail, from the bias to the activation.
    output_bound: the largest magnitude that the quantizer gets, and the largest sum of a pooling window before it.
    tail_bits: the width, sign included, of the widest number of the tail.
    pad_value: what a Pass finds beyond the map, in the accumulator's LSBs.
    """

    accumulator_exponent: int
    accumulator_bound: int
    accumulator_bits: int
    accumulator_shift: int
    residual_shift: int
    clip_low: int | None
    clip_high: int | None
    reciprocal_shift: int
    output_exponent: int
    position_bound: int
    output_bound: int
    tail_bits: int
    table_shift: int = 0
    table_offset: int = 0
    pad_value: int = 0


def signed_bits(bound: int) -> int:
    """Bits of a two's complement number that holds every integer from -bound to bound."""
    return bound.bit_length() + 1


def reciprocal(count: int, shift: int) -> int:
    """`2**shift / count`, rounded half up: what an average multiplies its sum by."""
    return ((1 << shift) + count // 2) // count


def reciprocal_shift(count: int) -> int:
    """The shift at which `reciprocal(count, shift)` is within 2**-11 of the true ratio, at least 16."""
    return max(16, 10 + count.bit_length())
