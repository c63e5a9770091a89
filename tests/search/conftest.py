"""A small residual network in a file, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bfpc.search.search import Data
from tests.test_reproducible import tiny_resnet


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "tiny_resnet.onnx"
    onnx.save(tiny_resnet(), path)
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return _images(tmp_path_factory, 4)


@pytest.fixture(scope="session")
def more_data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Enough images to tell formats apart beyond chance."""
    return _images(tmp_path_factory, 16)


def _images(tmp_path_factory: pytest.TempPathFactory, count: int) -> Data:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    (image,) = tiny_resnet().graph.input
    shape = [axis.dim_value for axis in image.type.tensor_type.shape.dim][1:]
    np.save(path, np.random.default_rng(5).standard_normal((count, *shape), np.float32))
    return Data(path)
