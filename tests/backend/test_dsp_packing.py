"""Several products in one multiplier: the packed product holds each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfpc.backend.devices import FAMILIES
from bfpc.backend.dsp_packing import Multiplier, pack, packed_products, products_per_dsp, unpack

MULTIPLIERS = sorted({family.multiplier for family in FAMILIES.values()}, key=lambda each: each.wide)


@st.composite
def packings(draw: st.DrawFn) -> tuple[Multiplier, int, int, int, list[int]]:
    """A multiplier, the operands' widths, an activation, and as many weights as are packed."""
    multiplier = draw(st.sampled_from(MULTIPLIERS))
    activation_bits, weight_bits = draw(st.integers(2, 13)), draw(st.integers(2, 13))
    count = packed_products(activation_bits, weight_bits, multiplier)
    activation = draw(signed(activation_bits))
    return multiplier, activation_bits, weight_bits, activation, [draw(signed(weight_bits)) for _ in range(count)]


def signed(bits: int) -> st.SearchStrategy[int]:
    ends = st.sampled_from([-(1 << (bits - 1)), -1, 0, (1 << (bits - 1)) - 1])
    return ends | st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


@given(packings())
def test_a_packed_product_holds_every_product(packing: tuple[Multiplier, int, int, int, list[int]]) -> None:
    multiplier, activation_bits, weight_bits, activation, weights = packing
    field_bits = activation_bits + weight_bits
    packed = pack(weights, field_bits)
    assert -(1 << (multiplier.wide - 1)) <= packed < 1 << (multiplier.wide - 1)
    assert unpack(packed * activation, len(weights), field_bits) == [weight * activation for weight in weights]


@pytest.mark.parametrize(
    ("family", "bits", "products"),
    [
        ("ultrascale", 8, 2),
        ("ultrascale", 4, 3),
        ("ultrascale", 12, 1),
        ("zynq7", 8, 2),
        ("agilex7", 8, 2),
        ("agilex7", 4, 4),
    ],
)
def test_products_of_a_dsp(family: str, bits: int, products: int) -> None:
    """Two of 8 bits as in WP486; of 4 bits three, where WP521 has four from two activations."""
    assert products_per_dsp(bits, bits, FAMILIES[family].multiplier) == products


def test_the_lowest_weights_side_by_side_need_a_bit_more() -> None:
    """Two weights of 7 bits, 18 apart, fill 25 bits; but -64 * 2**18 - 64 is less than -2**24."""
    assert packed_products(11, 7, Multiplier(26, 18, 1)) == 2
    assert packed_products(11, 7, Multiplier(25, 18, 1)) == 1


def test_what_is_wider_than_a_multiplier_is_not_packed() -> None:
    assert products_per_dsp(19, 8, Multiplier(27, 18, 1)) == 0
