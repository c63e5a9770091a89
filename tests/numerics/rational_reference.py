"""The quantizer's rule on exact rational numbers, from the arithmetic contract alone."""

from collections.abc import Sequence
from fractions import Fraction

from bfpc.numerics.format import BfpFormat


def quantize_block(
    values: Sequence[Fraction], format: BfpFormat, lsb_exponent: int | None = None
) -> tuple[list[int], int]:
    """Mantissas and the offset of one block.

    lsb_exponent: of integers' LSB, which has a bit length of at least 0 bits; real numbers have no LSB.
    """
    lowest, highest = format.exponent, format.exponent + format.exponent_range
    shortest = lowest if lsb_exponent is None else lsb_exponent
    wanted = max(bit_length(value, shortest) for value in values) - format.magnitude_bits
    exponent = min(max(wanted, lowest), highest)
    rounded = [round(value / Fraction(2) ** exponent) for value in values]  # ties to even
    return [min(max(q, format.min_mantissa), format.max_mantissa) for q in rounded], exponent - format.exponent


def bit_length(value: Fraction, shortest: int) -> int:
    """The smallest integer n, not below `shortest`, with -2**n <= value < 2**n."""
    n = shortest
    while not -(Fraction(2) ** n) <= value < Fraction(2) ** n:
        n += 1
    return n
