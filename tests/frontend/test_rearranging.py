"""Convolutions that move elements, against reshaping and transposing in NumPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bfpc.frontend.rearranging import rearrangement
from bfpc.frontend.tensor import CHANNELS_FIRST, Tensor, reshaped, transposed
from tests.networks.float_reference import convolve

sizes = st.integers(1, 3)


def check(x: Tensor, shape: tuple[int, ...], order: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Reshape to `shape`, transpose by `order`, reshape to `target`: one convolution does the same."""
    numbers = np.arange(np.prod(x.map_shape), dtype=np.float64).reshape(1, *x.map_shape)
    moved = rearrangement(reshaped(transposed(reshaped(x, shape), order), target), CHANNELS_FIRST)
    assert moved is not None
    expected = numbers.reshape(shape).transpose(order).reshape(target)
    np.testing.assert_array_equal(convolve(moved.op, numbers, moved.weight.astype(np.float64)), expected)


@given(sizes, sizes, sizes, sizes, sizes, st.permutations((1, 2, 3)))
def test_channels_in_any_order(a: int, b: int, c: int, height: int, width: int, order: list[int]) -> None:
    x = Tensor("x", (a * b * c, height, width), CHANNELS_FIRST)
    check(x, (1, a, b, c, height, width), (0, *order, 4, 5), (1, a * b * c, height, width))


@given(sizes, sizes, sizes, sizes, sizes, st.permutations((1, 2, 3)))
def test_depth_to_space(rows: int, columns: int, depth: int, height: int, width: int, order: list[int]) -> None:
    """Whichever parts of the channels become channels, rows and columns: a rectangle at each position."""
    parts = (0, rows, columns, depth)
    channels, below, beside = (parts[index] for index in order)
    x = Tensor("x", (rows * columns * depth, height, width), CHANNELS_FIRST)
    shape = (1, *parts[1:], height, width)
    check(x, shape, (0, order[0], 4, order[1], 5, order[2]), (1, channels, height * below, width * beside))


@given(sizes, sizes, sizes, sizes, sizes, st.permutations((1, 3, 5)))
def test_space_to_depth(rows: int, columns: int, depth: int, height: int, width: int, order: list[int]) -> None:
    x = Tensor("x", (depth, height * rows, width * columns), CHANNELS_FIRST)
    shape = (1, depth, height, rows, width, columns)
    check(x, shape, (0, *order, 2, 4), (1, depth * rows * columns, height, width))


def test_rows_that_change_their_order_are_no_convolution() -> None:
    x = Tensor("x", (2, 4, 4), CHANNELS_FIRST)
    swapped = reshaped(transposed(reshaped(x, (1, 2, 2, 2, 4)), (0, 1, 3, 2, 4)), (1, 2, 4, 4))
    assert rearrangement(swapped, CHANNELS_FIRST) is None
    assert rearrangement(transposed(x, (0, 1, 3, 2)), CHANNELS_FIRST) is None
