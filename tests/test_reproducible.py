"""The same input gives the same bytes, and the graph after every pass is what was reviewed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from bfpc.config import Config, load_config
from bfpc.pipeline import compile_model
from tests.conftest import GOLDEN, Golden
from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.random_networks import random_network


def conv(net: OnnxWriter, x: Tensor, outputs: int, *, stride: int = 1, kernel: int = 3) -> Tensor:
    """A convolution and its batch normalization."""
    weight = net.normal(outputs, x.shape[1], kernel, kernel, scale=(x.shape[1] * kernel**2) ** -0.5)
    shape = (1, outputs, *(-(-size // stride) for size in x.shape[2:]))
    y = net.node("Conv", [x.name, weight], shape, strides=[stride] * 2, pads=[kernel // 2] * 4)
    statistics = [net.uniform(0.5, 1.5, outputs), net.normal(outputs), net.normal(outputs)]
    return net.node("BatchNormalization", [y.name, *statistics, net.uniform(0.5, 1.5, outputs)], shape)


def relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Relu", [x.name], x.shape)


def tiny_resnet() -> onnx.ModelProto:
    """A stem, a residual block that halves the map, and a classifier."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = relu(net, conv(net, net.input(1, 3, 16, 16), 8))
    y = conv(net, relu(net, conv(net, x, 16, stride=2)), 16)
    x = relu(net, net.node("Add", [y.name, conv(net, x, 16, stride=2, kernel=1).name], y.shape))
    pooled = net.node("GlobalAveragePool", [x.name], (1, 16, 1, 1))
    flat = net.node("Flatten", [pooled.name], (1, 16))
    return net.finish("tiny_resnet", [net.node("Gemm", [flat.name, net.normal(16, 10), net.normal(10)], (1, 10))])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", [3, 5])
def test_compiling_twice_gives_the_same_bytes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another folder, at another time, into a folder of another name and over an earlier build."""
    onnx.save(random_network(seed), tmp_path / "network.onnx")
    compile_model(tmp_path / "network.onnx", load_config("int54"), tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "network.onnx").rename("network.onnx")
    os.utime("network.onnx", (0, 0))
    compile_model(Path("network.onnx"), load_config("int8"), Path("two"))
    compile_model(Path("network.onnx"), load_config("int54"), Path("two"))
    assert files(tmp_path / "one") == files(Path("two"))


def test_the_graph_after_every_pass(golden: Golden, tmp_path: Path) -> None:
    """Without the passes that adjust layers to calibration data: the last bit of such sums is the processor's."""
    onnx.save(tiny_resnet(), tmp_path / "tiny_resnet.onnx")
    passes = {"compensate_rounding": False, "correct_bias": False}
    config = load_config("int54").model_dump() | {"passes": passes}
    compile_model(
        tmp_path / "tiny_resnet.onnx", Config.model_validate(config), tmp_path / "build", dump_ir=tmp_path / "ir"
    )
    dumps = sorted((tmp_path / "ir").iterdir())
    for dump in dumps:
        golden(f"tiny_resnet/{dump.name}", dump.read_text())
    assert [dump.name for dump in dumps] == sorted(path.name for path in (GOLDEN / "tiny_resnet").iterdir())
