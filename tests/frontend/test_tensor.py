"""The layout algebra against NumPy: a view of a map must hold what transposing and reshaping the map itself gives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bfpc.frontend.tensor import CHANNELS_FIRST, Tensor, channels_first, named, per_channel, reshaped, transposed
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import to_onnx

sizes = st.integers(1, 4)
maps = st.builds(Tensor, st.just("x"), st.tuples(sizes, sizes, sizes), st.just(CHANNELS_FIRST), st.integers(1, 2))


def numbered(x: Tensor) -> NDArray[np.float64]:
    """The map that `x` views, each element another number."""
    return np.arange(x.batch * np.prod(x.map_shape), dtype=np.float64).reshape(x.batch, *x.map_shape)


def merged(shape: tuple[int, ...], cuts: list[bool]) -> list[int]:
    """The shape with neighbouring axes multiplied where `cuts` is false, and a 1 in front where there is none."""
    result: list[int] = []
    for size, cut in zip(shape, [True, *cuts], strict=False):
        if cut or not result:
            result.append(size)
        else:
            result[-1] *= size
    return result


@given(maps, st.permutations(range(4)), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2))
def test_transposes_and_merging_reshapes_are_views(x: Tensor, order: list[int], cuts: list[bool], ones: int) -> None:
    view = transposed(x, order)
    expected = numbered(x).transpose(order)
    assert view.shape == expected.shape
    target = merged(view.shape, cuts) + [1] * ones
    view, expected = reshaped(view, target), expected.reshape(target)
    assert view.shape == expected.shape
    np.testing.assert_array_equal(to_onnx(numbered(x), view.axes), expected)
    back = reshaped(view, transposed(x, order).shape)
    np.testing.assert_array_equal(to_onnx(numbered(x), back.axes), numbered(x).transpose(order))


@given(maps, st.data())
def test_axes_that_are_split_and_joined_again_are_views(x: Tensor, data: st.DataObject) -> None:
    """Each axis in two parts, moved about: where the map's axes come out whole, the view holds what NumPy makes."""
    shape = [factor for size in x.shape for factor in data.draw(st.sampled_from(_factors(size)))]
    order = data.draw(st.permutations(range(len(shape))))
    view = transposed(reshaped(x, shape), order)
    back = transposed(view, np.argsort(order).tolist())
    assert view.shape == tuple(shape[index] for index in order)
    assert reshaped(back, x.shape).layout == x.layout
    assert reshaped(back, x.shape).is_whole
    if view.is_whole:
        expected = numbered(x).reshape(shape).transpose(order)
        np.testing.assert_array_equal(to_onnx(numbered(x), view.axes), expected)


def _factors(size: int) -> list[tuple[int, int]]:
    return [(coarse, size // coarse) for coarse in range(1, size + 1) if size % coarse == 0]


def test_a_reshape_across_axes_is_refused() -> None:
    x = Tensor("x", (6, 2, 2), CHANNELS_FIRST)
    with pytest.raises(Unsupported, match="regroups the axes"):
        reshaped(x, (1, 8, 3))


def test_names_for_axes_of_size_1_are_the_missing_ones() -> None:
    x = Tensor("x", (6, 1, 1), ("N", "C", "", ""))
    assert named(x).axes == CHANNELS_FIRST


def test_an_axis_of_size_1_may_stand_anywhere() -> None:
    x = Tensor("x", (6, 1, 1), ("N", "H", "W", "C"))
    assert channels_first(reshaped(x, (1, 6, 1, 1))).axes == CHANNELS_FIRST


@pytest.mark.parametrize(
    ("axes", "reason"),
    [(("N", "H", "W", "C"), "not \\(N, C, H, W\\)"), (("N", "C", "HW"), "not \\(N, C, H"), (("N", "CHW"), "2 axes")],
)
def test_maps_that_are_not_channels_first_are_refused(axes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        channels_first(Tensor("x", (2, 3, 4), axes))


@given(maps, st.permutations(range(4)))
def test_a_constant_that_varies_by_channel_is_found_in_any_layout(x: Tensor, order: list[int]) -> None:
    vector = np.arange(x.map_shape[0], dtype=np.float32)
    constant = np.broadcast_to(vector[None, :, None, None], (1, len(vector), 1, 1)).transpose(order)
    np.testing.assert_array_equal(per_channel(transposed(x, order), constant), vector)


def test_constants_that_vary_within_a_channel_or_enlarge_the_map_are_refused() -> None:
    x = Tensor("x", (2, 3, 1), CHANNELS_FIRST)
    with pytest.raises(Unsupported, match="within a channel"):
        per_channel(x, np.arange(3, dtype=np.float32)[:, None])
    with pytest.raises(Unsupported, match="would broadcast"):
        per_channel(replace(x, map_shape=(2, 3, 1)), np.ones(5, np.float32))
