"""Batches: every image once, in order, with its class; augmentation treats each image as the page says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bfpc.config_sections import Preprocessing, Training
from bfpc.data import Array, InputSpec, open_inputs
from bfpc.training.batches import Augmentation, Examples, draw_augmentation, load_batches
from tests.training.fake_network import SIZE, examples

CPU = torch.device("cpu")


def test_batches_hold_the_images_of_the_order_and_their_classes(tmp_path: Path) -> None:
    data = examples(tmp_path, 50, labelled=True)
    order = list(np.random.default_rng(0).permutation(50))
    batches = list(load_batches(data, order, 8, None, CPU))
    assert [len(batch) for batch in batches] == [8] * 6 + [2]
    images = torch.cat([batch.inputs["image"] for batch in batches])
    assert np.array_equal(images, data.inputs.take(order)["image"])
    assert data.classes is not None
    classes = [batch.classes for batch in batches if batch.classes is not None]
    assert np.array_equal(torch.cat(classes), data.classes[order])


def test_no_more_batches_are_loaded_than_are_soon_needed(tmp_path: Path) -> None:
    taken: list[int] = []

    class Counting:
        names, warnings = tuple(map(str, range(100))), ()

        def __len__(self) -> int:
            return 100

        def take(self, indices: Sequence[int]) -> dict[str, Array]:
            taken.extend(indices)
            return {"image": np.zeros((len(indices), 3, SIZE, SIZE), np.float32)}

    first = next(load_batches(Examples(Counting(), None, ()), range(100), 2, None, CPU))
    assert len(first) == 2
    assert len(taken) <= 12


def test_mirrored_and_shifted_images() -> None:
    maps = np.arange(2 * 1 * 3 * 3, dtype=np.float32).reshape(2, 1, 3, 3) + 1
    mirrored, shifts = np.array([False, True]), np.array([[0, 2], [1, 1]])
    first, second = Augmentation(mirrored, shifts, 1).apply(maps, [0, 1])[:, 0]
    assert first.tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]  # one row down, one column to the left
    assert second.tolist() == [[12, 11, 10], [15, 14, 13], [18, 17, 16]]


def test_augmentation_follows_from_seed_and_epoch() -> None:
    def draw(seed: int, epoch: int) -> list[int]:
        augmentation = draw_augmentation(Training(flip=True, crop_padding=2, seed=seed), 50, epoch)
        assert augmentation is not None
        assert 10 < augmentation.mirrored.sum() < 40
        assert np.unique(augmentation.shifts).tolist() == [0, 1, 2, 3, 4]
        return [*augmentation.mirrored.tolist(), *augmentation.shifts.ravel().tolist()]

    assert draw(0, 1) == draw(0, 1)
    assert draw(0, 1) != draw(0, 2) != draw(1, 2)
    assert draw_augmentation(Training(), 50, 1) is None


@pytest.mark.parametrize("axes", [("N", "C", "H", "W"), ("N", "H", "W", "C")])
def test_augmented_batches_keep_the_layout(tmp_path: Path, axes: tuple[str, ...]) -> None:
    order = ["NCHW".index(axis) for axis in axes]
    planar = np.random.default_rng(0).standard_normal((4, 3, 5, 6)).astype(np.float32)
    np.save(tmp_path / "images.npy", planar.transpose(order))
    spec = InputSpec("image", tuple(np.transpose(planar[:1], order).shape), axes)
    data = Examples(open_inputs(tmp_path / "images.npy", [spec], Preprocessing(), None), None, (spec,))
    all_mirrored = Augmentation(np.ones(4, bool), np.zeros((4, 2), np.int64), 0)
    [batch] = load_batches(data, range(4), 4, all_mirrored, CPU)
    assert np.array_equal(batch.inputs["image"], planar[..., ::-1].transpose(order))
