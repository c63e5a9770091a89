"""Feature maps in memory, against strings of bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bfpc.backend.feature_memory import FeatureLayout, pack, unpack
from bfpc.numerics.format import BfpFormat
from tests.backend.reference_bits import feature_words
from tests.backend.strategies import formats, random_map, seeds

shapes = st.tuples(st.integers(1, 70), st.integers(1, 3), st.integers(1, 9))
GROUP = 64


@settings(max_examples=40)
@given(formats(), shapes, seeds)
def test_words_are_the_records_bit_by_bit(format: BfpFormat, shape: tuple[int, int, int], seed: int) -> None:
    tensor = random_map(format, shape, seed)
    words = pack(tensor, GROUP)
    assert [int(word) for word in words] == feature_words(tensor, GROUP)
    assert words.size == FeatureLayout(shape, format, GROUP).words


@settings(max_examples=60)
@given(formats(), shapes, seeds)
def test_unpack_inverts_pack(format: BfpFormat, shape: tuple[int, int, int], seed: int) -> None:
    tensor = random_map(format, shape, seed)
    back = unpack(pack(tensor, GROUP), shape, format, GROUP)
    assert np.array_equal(back.mantissas, tensor.mantissas)
    assert np.array_equal(back.offsets, tensor.offsets)


def test_last_group_keeps_only_its_blocks() -> None:
    layout = FeatureLayout((40, 2, 8), BfpFormat(5, 16, 7), 32)
    assert [layout.blocks(group) for group in range(layout.groups)] == [2, 1]
    assert layout.record_bits(0) == 2 * (3 + 16 * 5)
    assert layout.row_words(1) == -(-8 * 83 // 64)


def test_region_words_count_the_words_a_column_range_touches() -> None:
    layout = FeatureLayout((16, 4, 128), BfpFormat(4, 16, 1), 32)  # records of 65 bits
    assert layout.region_words(0, 3, 0, 128) == 3 * layout.row_words(0)
    assert layout.region_words(0, 1, 1, 2) == 2  # bits 65 to 130
    assert layout.region_words(0, 1, 5, 5) == 0
