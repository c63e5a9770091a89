"""The published format, number by number in rational arithmetic, as its description reads."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

LOWEST, HIGHEST = -14, 15  # exponents of FP16


class Element(NamedTuple):
    """A number as `sign * mantissa * 2**(exponent - magnitude bits + 1)`."""

    sign: int
    mantissa: int
    exponent: int


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def exponent_of(number: Fraction) -> int:
    """floor(log2 |number|), within FP16's range of exponents."""
    magnitude, exponent = abs(number), LOWEST
    while exponent < HIGHEST and power(exponent + 1) <= magnitude:
        exponent += 1
    return exponent


def float16(number: float) -> Fraction:
    """The nearest number of FP16, that with an even significand if two are; the largest one beyond."""
    largest = Fraction(65504)
    if abs(number) > largest:
        return largest if number > 0 else -largest
    exact = Fraction(number)
    lsb = power(exponent_of(exact) - 10)
    return min(round(exact / lsb) * lsb, largest)


def activations(block: Sequence[float], magnitude_bits: int) -> list[Fraction]:
    """One block: to FP16, half-up to the mantissa, then aligned to the largest exponent with ties to even."""
    elements = [half_up(float16(number), magnitude_bits) for number in block]
    shared = max(element.exponent for element in elements)
    return [
        element.sign
        * round(Fraction(element.mantissa, 2 ** (shared - element.exponent)))
        * power(shared - magnitude_bits + 1)
        for element in elements
    ]


def half_up(number: Fraction, magnitude_bits: int) -> Element:
    """The magnitude to so many bits, a half up; a carry raises the exponent as far as there is a higher one."""
    sign, exponent = (-1 if number < 0 else 1), exponent_of(number)
    mantissa = int(abs(number) / power(exponent - magnitude_bits + 1) + Fraction(1, 2))
    if mantissa < 2**magnitude_bits:
        return Element(sign, mantissa, exponent)
    if exponent == HIGHEST:
        return Element(sign, 2**magnitude_bits - 1, exponent)
    return Element(sign, mantissa // 2, exponent + 1)


def truncated(block: Sequence[float], magnitude_bits: int) -> list[Fraction]:
    """One block of the folded first layer: to FP16, then without the bits below the block's last place."""
    numbers = [float16(number) for number in block]
    lsb = power(max(map(exponent_of, numbers)) - magnitude_bits + 1)
    return [int(number / lsb) * lsb for number in numbers]


def weights(block: Sequence[float], magnitude_bits: int) -> list[Fraction]:
    """One block: to the last place of its largest weight's exponent, with ties to even, all-ones at most."""
    numbers = [Fraction(number) for number in block]
    lsb, most = power(max(map(exponent_of, numbers)) - magnitude_bits + 1), 2**magnitude_bits - 1
    return [max(-most, min(round(number / lsb), most)) * lsb for number in numbers]
