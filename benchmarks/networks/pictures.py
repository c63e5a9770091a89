"""Synthetic pictures for networks that were never trained on any."""

from __future__ import annotations

import numpy as np

from benchmarks.networks.drawing import Floats

COARSEST = 7  # positions a side


def synthetic_pictures(rng: np.random.Generator, count: int, size: int, channels: int = 3) -> Floats:
    """[count, channels, size, size] with the falling spectrum of photographs, of mean 0 and variance 1."""
    extent = grid = COARSEST
    while extent < size:
        extent *= 2
    pictures: Floats = np.zeros((count, channels, extent, extent), np.float32)
    while grid <= extent:
        noise = rng.standard_normal((count, channels, grid, grid), np.float32) * COARSEST / grid
        pictures += np.kron(noise, np.ones((extent // grid, extent // grid), np.float32))
        grid *= 2
    pictures = pictures[..., :size, :size]
    pictures -= pictures.mean()
    pictures /= pictures.std()
    return pictures
