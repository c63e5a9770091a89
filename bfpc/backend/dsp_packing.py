"""Several narrow products in one multiplier of a DSP.

Processing elements multiply the same activation, so the weights of several can stand side by side in the wide operand:

    (w[1] * 2**s + w[0]) * a = w[1] * a * 2**s + w[0] * a

With s bits for each product the lowest is the low field itself; where it is negative it borrows 1 from the field
above, which is added back. AMD's WP486 does so with two 8-bit products, WP521 with four 4-bit ones. The packed weights
are made once for a step, as weights stand still; the borrow costs an adder for every product but the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Multiplier:
    """The widths of the two signed operands that a DSP multiplies, and how often it has such a multiplier."""

    wide: int
    narrow: int
    count: int


DSP48E1 = Multiplier(25, 18, 1)  # UG479; every DSP of AMD since holds one


def packed_products(activation_bits: int, weight_bits: int, multiplier: Multiplier) -> int:
    """Products of one activation with so many weights that a multiplier makes at once; operands are signed.

    Where several weights are the lowest there are, those below take the packed word beyond the highest one's range: it
    needs a bit more.
    """
    if activation_bits > multiplier.narrow or weight_bits > multiplier.wide:
        return 0
    return 1 + max(0, multiplier.wide - 1 - weight_bits) // (activation_bits + weight_bits)


def products_per_dsp(activation_bits: int, weight_bits: int, multiplier: Multiplier) -> int:
    """The same of a whole DSP; 0 where a product takes several DSPs."""
    return multiplier.count * packed_products(activation_bits, weight_bits, multiplier)


def pack(weights: list[int], field_bits: int) -> int:
    """Weights side by side, the first lowest."""
    return sum(weight << (field_bits * place) for place, weight in enumerate(weights))


def unpack(product: int, count: int, field_bits: int) -> list[int]:
    """The products in a packed one, the lowest first: each field with its sign, and the borrow of the one below."""
    products, half = [], 1 << (field_bits - 1)
    for place in range(count):
        field = (product >> (field_bits * place)) & (2 * half - 1)
        borrow = (product >> (field_bits * place - 1)) & 1 if place else 0
        products.append(((field + borrow + half) & (2 * half - 1)) - half)
    return products
