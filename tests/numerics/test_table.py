"""Tables of integers against the functions they stand for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfpc.numerics.functions import FUNCTIONS, Step, apply_steps
from bfpc.numerics.layer import TABLE_ENTRIES
from bfpc.numerics.table import HIGHEST_ENTRY, LOWEST_ENTRY, make_table, position_scales

SMOOTH: tuple[tuple[Step, ...], ...] = (
    (("sigmoid",),),
    (("tanh",),),
    (("affine", 0.25, -1.0), ("clip", -0.5, 0.75)),
    (("softplus",), ("tanh",)),
    (("erf",),),
    (("elu", 0.5),),
    (("softsign",),),
)


def index_of(integer: int, shift: int, offset: int) -> int:
    """The entry that an integer of the tail reads, in exact arithmetic."""
    return min(max(round(Fraction(integer, 2**shift)) + offset, 0), TABLE_ENTRIES - 1)


@given(
    st.sampled_from(SMOOTH),
    st.booleans(),
    st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    st.integers(-24, 0),
    st.floats(-40, 40),
)
def test_an_entry_is_the_function_nearby(
    steps: tuple[Step, ...], gated: bool, ends: tuple[float, float], exponent: int, x: float
) -> None:
    """Within half a step of the index, one and a half at the domain's ends, and half an entry; saturated beyond."""
    low, high = sorted(ends)
    table = make_table(steps, (low, high), exponent, gated=gated)
    integer = round(x * 2.0**-exponent)
    entry = float(table.entries[index_of(integer, table.shift, table.offset)]) * 2.0**table.exponent
    step = 2.0 ** (exponent + table.shift)
    nearest = min(max(integer * 2.0**exponent, low), high)
    around = np.clip(np.linspace(nearest - 1.5 * step, nearest + 1.5 * step, 65), low, high)
    around_values = apply_steps(steps, around, gated=gated)
    margin = 2.0 ** (table.exponent - 1) + 1e-9
    assert around_values.min() - margin <= entry <= around_values.max() + margin


@given(st.sampled_from(SMOOTH), st.floats(0.001, 1000), st.integers(-24, 0))
def test_the_index_and_the_entries_are_as_fine_as_can_be(steps: tuple[Step, ...], width: float, exponent: int) -> None:
    low, high = -width / 3, width
    table = make_table(steps, (low, high), exponent)
    span = (high - low) / 2.0 ** (exponent + table.shift)
    assert span <= TABLE_ENTRIES
    assert table.shift == 0 or 2 * span > TABLE_ENTRIES
    finer = 2 * table.entries.astype(int)
    assert finer.min() - 1 <= LOWEST_ENTRY or finer.max() + 1 >= HIGHEST_ENTRY


@pytest.mark.parametrize(
    ("step", "domain"),
    [(("reciprocal",), (-1.0, 1.0)), (("log",), (-1.0, 4.0)), (("sqrt",), (-2.0, 2.0)), (("exp",), (0.0, 900.0))],
)
def test_where_the_function_is_not_finite_the_nearest_entry_stands(step: Step, domain: tuple[float, float]) -> None:
    table = make_table((step,), domain, -12)
    x = (np.arange(TABLE_ENTRIES) - table.offset) * 2.0 ** (table.shift - 12)
    y = apply_steps((step,), np.clip(x, *domain))
    known = np.flatnonzero(np.abs(y) < 2.0**100)
    for i in np.flatnonzero(~(np.abs(y) < 2.0**100)):
        nearest = known[np.argmin(np.abs(known - i))]
        assert table.entries[i] == table.entries[nearest]
    assert 2**14 <= np.abs(table.entries.astype(int)).max() <= 2**15


def test_a_table_of_zeros_and_a_domain_of_one_point() -> None:
    zeros = make_table((("affine", 0.0, 0.0),), (-1.0, 1.0), -8)
    assert not zeros.entries.any()
    point = make_table((("exp",),), (0.0, 0.0), -8)
    assert set(point.entries * 2.0**point.exponent) == {1.0}


def test_scales_of_positions_have_15_binary_places_and_stay_below_one() -> None:
    entries = position_scales(np.array([0.0, 0.25, 2.0**-17, 0.7, 1.0]))
    assert entries[:5].tolist() == [0, 2**13, 0, round(0.7 * 2**15), 2**15 - 1]
    assert entries.dtype == np.int16
    assert len(entries) == TABLE_ENTRIES
    assert not entries[5:].any()


def test_a_narrow_domain_far_from_zero_has_an_offset_of_32_bits() -> None:
    table = make_table((("sigmoid",),), (-5.0, -4.999999), -45)
    assert abs(table.offset) <= 2**30
    assert abs(table.entries[0] * 2.0**table.exponent - 1 / (1 + np.exp(5))) < 1e-6


def test_every_elementary_function_makes_a_table() -> None:
    parameters = {"affine": (2.0, 1.0), "clip": (0.0, 1.0), "polynomial": (1.0, 2.0), "power": (1.5,)}
    for name in FUNCTIONS:
        assert make_table(((name, *parameters.get(name, ())),), (0.5, 2.0), -16).entries.any()
