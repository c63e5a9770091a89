"""Histograms of stored numbers, against the real numbers themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.report.octaves import MapOctaves, count_octaves


@st.composite
def tensors(draw: st.DrawFn) -> BfpTensor:
    format = BfpFormat(
        draw(st.integers(2, 12)), 4, draw(st.integers(0, 9)), draw(st.booleans()), draw(st.integers(-9, 3))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.integers(1, 9))
    mantissas = rng.integers(format.min_mantissa, format.max_mantissa + 1, (2, channels, 3, 2))
    offsets = rng.integers(0, format.exponent_range + 1, (2, -(-channels // 4), 3, 2))
    return BfpTensor(format, mantissas.astype(np.int16), offsets.astype(np.uint8))


@given(tensors())
def test_every_number_is_counted_in_the_octave_of_its_size(tensor: BfpTensor) -> None:
    found, real = count_octaves(tensor), np.abs(tensor.real)
    assert found.counts.sum() == real.size
    assert found.counts[0] == (real == 0).sum()
    for index in range(1, len(found.counts)):
        low = 2.0 ** (tensor.format.exponent + index - 1)
        assert found.counts[index] == ((real >= low) & (real < 2 * low)).sum()
    assert found.blocks.sum() == tensor.offsets.size


@given(tensors())
def test_all_numbers_lie_in_the_window_and_the_largest_of_it_are_counted(tensor: BfpTensor) -> None:
    found, format = count_octaves(tensor), tensor.format
    raised = BfpTensor(format, tensor.mantissas, np.minimum(tensor.offsets, max(format.exponent_range - 1, 0)))
    largest = np.ldexp(float(format.max_mantissa), format.exponent + format.exponent_range)
    assert (np.abs(tensor.real) <= 2.0**found.top).all()
    assert found.saturated >= (np.abs(tensor.real) > largest).sum()
    if format.exponent_range:
        assert count_octaves(raised).saturated == 0


@given(tensors())
def test_batches_add_up(tensor: BfpTensor) -> None:
    watched = MapOctaves()
    for image in range(2):
        part = BfpTensor(tensor.format, tensor.mantissas[[image]], tensor.offsets[[image]])
        watched.add({"map": part})
    whole = count_octaves(tensor)
    assert (watched.found["map"].counts == whole.counts).all()
    assert (watched.found["map"].blocks == whole.blocks).all()
    assert watched.found["map"].saturated == whole.saturated
