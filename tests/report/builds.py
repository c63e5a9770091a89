"""Builds of a small classifier, as the command line makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from click.testing import CliRunner, Result

from bfpc.cli import main
from tests.networks.onnx_writer import OnnxWriter


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def compile_small(folder: Path, preset: str, name: str = "classifier") -> Path:
    """A build of convolutions, a depthwise one that runs behind another and a residual among them, and a softmax that
    the host computes."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 3, 16, 16)
    x = net.node("Conv", [x.name, net.normal(16, 3, 3, 3, scale=0.2)], (1, 16, 14, 14))
    x = shortcut = net.node("Relu", [x.name], x.shape)
    x = net.node("Conv", [x.name, net.normal(24, 16, 1, 1, scale=0.2)], (1, 24, 14, 14))
    x = net.node("Relu", [x.name], x.shape)
    x = net.node("Conv", [x.name, net.normal(24, 1, 3, 3, scale=0.3)], x.shape, group=24, pads=[1, 1, 1, 1])
    x = net.node("Relu", [x.name], x.shape)
    x = net.node("Conv", [x.name, net.normal(16, 24, 1, 1, scale=0.2)], (1, 16, 14, 14))
    x = net.node("Add", [x.name, shortcut.name], x.shape)
    x = net.node("GlobalAveragePool", [x.name], (1, 16, 1, 1))
    flat = net.node("Flatten", [x.name], (1, 16))
    logits = net.node("Gemm", [flat.name, net.normal(16, 10, scale=0.3), net.normal(10)], (1, 10))
    onnx.save(net.finish(name, [net.node("Softmax", [logits.name], (1, 10))]), folder / f"{name}.onnx")
    result = run("compile", folder / f"{name}.onnx", "-c", preset, "-o", folder / "build")
    assert result.exit_code == 0, result.output
    return folder / "build"
