"""Several pictures of each photograph, for benchmarks of networks whose output says little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import builds

SIZE = (40, 30)
PHOTOS, FIRST, CROPS = 5, 3, (4, 2)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Of the first photographs and the others; each photograph is red as far as its number, and differs everywhere."""
    photographs = tmp_path / "shared" / "data" / "photos"
    for folder in (photographs, tmp_path / "scratch"):
        folder.mkdir(parents=True)
    for number in range(PHOTOS):
        rows, columns = np.indices(SIZE[::-1], np.uint8)
        pixels = np.stack([np.full_like(rows, number), rows, columns], axis=-1)
        Image.fromarray(pixels).save(photographs / f"{number}.jpg", format="png")
    monkeypatch.setattr(builds, "SHARED", tmp_path / "shared")
    monkeypatch.setattr(builds, "scratch", lambda: tmp_path / "scratch")
    cached = (builds.photos, builds.photo_crops)
    for each in cached:
        each.cache_clear()
    yield builds.photo_crops(FIRST, CROPS)
    for each in cached:
        each.cache_clear()


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_all_photographs_come_once_before_any_comes_again(folders: tuple[Path, Path]) -> None:
    numbers = [[int(picture[0, 0, 0]) for picture in pictures(folder)] for folder in folders]
    assert numbers == [[0, 1, 2] * CROPS[0], [3, 4] * CROPS[1]]


def test_each_comes_as_it_is_first(folders: tuple[Path, Path]) -> None:
    assert all(picture.shape == (*SIZE[::-1], 3) for picture in pictures(folders[0])[:FIRST])


def test_then_as_squares_of_it_which_differ_and_may_be_mirrored(folders: tuple[Path, Path]) -> None:
    squares = pictures(folders[0])[FIRST:]
    found = set()
    for square in squares:
        height, width, _ = square.shape
        assert builds.LEAST_SIDE * min(SIZE) - 1 < height == width <= min(SIZE)
        columns = square[0, :, 2].astype(int)
        step = columns[1] - columns[0]
        assert abs(step) == 1
        assert (np.diff(columns) == step).all()
        assert (np.diff(square[:, 0, 1]) == 1).all()
        found.add((width, int(square[0, 0, 1]), int(columns.min()), int(step)))
    assert len(found) == len(squares)
    assert {step for *_, step in found} == {-1, 1}
