"""Small networks in files, and images for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bfpc.search.search import Data
from tests.networks.onnx_writer import OnnxWriter
from tests.test_reproducible import conv, relu, tiny_resnet


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "tiny_resnet.onnx"
    onnx.save(tiny_resnet(), path)
    return path


@pytest.fixture(scope="session")
def separable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A depthwise layer that runs behind a dense one, and convolutions around them."""
    path = tmp_path_factory.mktemp("search") / "separable.onnx"
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = relu(net, conv(net, relu(net, conv(net, net.input(1, 3, 16, 16), 8)), 40, kernel=1))
    filters = net.normal(40, 1, 3, 3, scale=0.3)
    x = relu(net, net.node("Conv", [x.name, filters], x.shape, group=40, pads=[1, 1, 1, 1]))
    onnx.save(net.finish("separable", [conv(net, x, 10, kernel=1)]), path)
    return path


@pytest.fixture(scope="session")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool over the whole map, whose sums have many bits, before the last layer."""
    path = tmp_path_factory.mktemp("search") / "pooled.onnx"
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = relu(net, conv(net, relu(net, conv(net, net.input(1, 3, 8, 8), 8)), 8))
    mean = net.node("GlobalAveragePool", [x.name], (*x.shape[:2], 1, 1))
    onnx.save(net.finish("pooled", [conv(net, mean, 10, kernel=1)]), path)
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
