"""Tables: a function of one number as 4096 entries of 16 bits, read by the rounded, saturated number.

Entry i holds the function at `x = (i - offset) * 2**shift` LSBs, kept within the domain. The entries share one
exponent, the smallest at which the largest of them fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ldexp

import numpy as np
from numpy.typing import NDArray

from bfpc.numerics.functions import Numbers, Step, apply_steps
from bfpc.numerics.layer import POSITION_SCALE_SHIFT, TABLE_BITS, TABLE_ENTRIES

LOWEST_ENTRY, HIGHEST_ENTRY = -(1 << (TABLE_BITS - 1)), (1 << (TABLE_BITS - 1)) - 1
LARGEST = 2.0**100  # what exceeds it counts as infinite: entries stay within float32
MIN_TABLE_EXPONENT = -100
LARGEST_OFFSET = 1 << 30  # leaves the offset and an index to 32 bits


@dataclass(frozen=True, eq=False)
class IntegerTable:
    """entries: int16 [4096], in units of `2**exponent`; shift and offset make a number of LSBs an index."""

    entries: NDArray[np.int16]
    shift: int
    offset: int
    exponent: int


def make_table(
    steps: Iterable[Step], domain: tuple[float, float], lsb_exponent: int, *, gated: bool = False
) -> IntegerTable:
    """The table of a function (see `apply_steps`) of integers whose LSB weighs `2**lsb_exponent`.

    domain: the lowest and the highest real number that the table distinguishes. Where the function is not finite, the
    nearest entry at which it is takes its place.
    """
    low, high = domain
    least = max((high - low) / TABLE_ENTRIES, max(abs(low), abs(high)) / LARGEST_OFFSET)
    shift = 0
    while least > ldexp(1.0, lsb_exponent + shift):
        shift += 1
    step = ldexp(1.0, lsb_exponent + shift)
    offset = -round(low / step)
    x = np.clip((np.arange(TABLE_ENTRIES) - offset) * step, low, high)
    entries, exponent = _round_entries(_finite(apply_steps(steps, x, gated=gated)))
    return IntegerTable(entries, shift, offset, exponent)


def position_scales(scales: NDArray[np.floating]) -> NDArray[np.int16]:
    """Numbers from 0 to 1, one for each row or column, as a table's entries with POSITION_SCALE_SHIFT binary places."""
    entries = np.rint(np.ldexp(np.asarray(scales, np.float64), POSITION_SCALE_SHIFT))
    clipped = np.clip(entries, 0, HIGHEST_ENTRY).astype(np.int16)
    return np.pad(clipped, (0, TABLE_ENTRIES - len(clipped)))


def _finite(y: Numbers) -> Numbers:
    """Every entry that is not finite becomes the nearest one that is."""
    known = np.flatnonzero(np.abs(y) < LARGEST)  # never true of NaN
    assert known.size, "the function is finite nowhere in its domain"
    middles = (known[1:] + known[:-1]) / 2
    return np.asarray(y[known[np.searchsorted(middles, np.arange(y.size))]])


def _round_entries(y: Numbers) -> tuple[NDArray[np.int16], int]:
    """y in units of the smallest power of two at which all of it fits 16 bits, and that power."""
    exponent = max(int(np.frexp(np.abs(y).max())[1]) - TABLE_BITS, MIN_TABLE_EXPONENT)
    while True:
        entries = np.rint(np.ldexp(y, -exponent))
        if entries.min() >= LOWEST_ENTRY and entries.max() <= HIGHEST_ENTRY:
            return entries.astype(np.int16), exponent
        exponent += 1
