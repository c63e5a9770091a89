"""`bfpc retrain` end to end: what it writes and prints, what it refuses, and that two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from bfpc.cli import main
from bfpc.config import load_config
from bfpc.pipeline import compile_model
from tests.test_runtime import SHAPE, with_host_between

CLASSES, SIZE, IMAGES = 4, 8, 64


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Convolution, ReLU, average, class scores."""
    random = np.random.default_rng(0)
    shapes = {"conv.weight": (16, 3, 3, 3), "conv.bias": (16,), "fc.weight": (CLASSES, 16), "fc.bias": (CLASSES,)}
    weights = {name: (random.standard_normal(shape) / 3).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["scores"], name="fc", transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [image], [scores], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images whose class is their brightest channel, or 3 where all are dark; labels.npy beside them."""
    random = np.random.default_rng(1)
    classes = random.integers(0, CLASSES, IMAGES)
    images = random.standard_normal((IMAGES, 3, SIZE, SIZE)).astype(np.float32)
    images[np.arange(IMAGES)[classes < 3], classes[classes < 3]] += 2
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", classes)
    return tmp_path / "images.npy"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """A config file with a training section."""

    def write(preset: str = "int4", **training: Any) -> Path:
        settings = {"batch": 16, "learning_rate": 0.01} | training
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"extends": preset, "training": settings}))
        return tmp_path / "mine.yaml"

    return write


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["retrain", *map(str, arguments)])


def test_a_tuned_network_is_an_ordinary_one_with_other_weights(
    tmp_path: Path, model: Path, data: Path, config: Callable[..., Path]
) -> None:
    tuned, labels = tmp_path / "tuned.onnx", tmp_path / "labels.npy"
    chosen = config(flip=True, crop_padding=1)
    task = ("--data", data, "--labels", labels, "--epochs", 3, "--validation", data, "--validation-labels", labels)
    result = run(model, "-c", chosen, *task, "-o", tuned)
    assert result.exit_code == 0, result.output
    assert "epoch 3/3: loss" in result.stderr
    assert "validation top-1" in result.stderr
    assert "tuned.onnx: the weights after epoch" in result.stdout
    before, after = onnx.load(model), onnx.load(tuned)
    onnx.checker.check_model(after)
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    old, new = ({tensor.name: numpy_helper.to_array(tensor) for tensor in m.graph.initializer} for m in (before, after))
    assert old.keys() == new.keys()
    assert all(old[name].shape == new[name].shape and (old[name] != new[name]).any() for name in old)
    compile_model(tuned, load_config(chosen), tmp_path / "build", data)


def test_without_labels_the_figure_is_the_noise(
    tmp_path: Path, model: Path, data: Path, config: Callable[..., Path]
) -> None:
    result = run(model, "-c", config(), "--data", data, "--epochs", 1, "-o", tmp_path / "tuned.onnx")
    assert result.exit_code == 0, result.output
    assert "epoch 1/1: loss" in result.stderr
    assert "SQNR" in result.stdout


def test_stages_with_the_host_between_them_learn_apart(tmp_path: Path, config: Callable[..., Path]) -> None:
    network = with_host_between()
    onnx.save(network, tmp_path / "between.onnx")
    images = np.random.default_rng(0).standard_normal((8, 3, *SHAPE)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    data = ("--data", tmp_path / "images.npy")
    result = run(tmp_path / "between.onnx", "-c", config(), *data, "--epochs", 1, "-o", tmp_path / "tuned.onnx")
    assert result.exit_code == 0, result.output
    old, new = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (network, onnx.load(tmp_path / "tuned.onnx"))
    )
    weights = [name for name, tensor in old.items() if tensor.ndim == 4]
    assert len(weights) > 2
    assert all((old[name] != new[name]).any() for name in weights)


def test_interrupted_and_resumed(tmp_path: Path, model: Path, data: Path, config: Callable[..., Path]) -> None:
    arguments = (model, "-c", config(), "--data", data, "--epochs", 2, "--checkpoints", tmp_path / "checkpoints")
    assert run(*arguments, "-o", tmp_path / "first.onnx").exit_code == 0
    again = run(*arguments, "-o", tmp_path / "second.onnx")
    assert again.exit_code == 2
    assert "--resume" in again.output
    assert run(*arguments, "-o", tmp_path / "second.onnx", "--resume").exit_code == 0
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_a_checkpoint_of_other_images_is_refused(
    tmp_path: Path, model: Path, data: Path, config: Callable[..., Path]
) -> None:
    others = tmp_path / "others.npy"
    np.save(others, np.load(data)[::-1])
    arguments = (
        model,
        "-c",
        config(),
        "--epochs",
        2,
        "--checkpoints",
        tmp_path / "checkpoints",
        "-o",
        tmp_path / "x.onnx",
    )
    assert run(*arguments, "--data", data).exit_code == 0
    assert "a training with another model, config, data" in run(*arguments, "--data", others, "--resume").output


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        ({}, [CLASSES] * IMAGES, "a label is class 4, the network has 4 classes"),
        ({}, [0] * 3, "labels for 64 images"),
        ({}, [[[0, 1], [1, 0]]] * IMAGES, "the labels are maps"),
        ({"temperature": 1e30}, [0] * IMAGES, "the loss became nan"),
    ],
)
def test_mistakes_leave_nothing_behind(
    tmp_path: Path,
    model: Path,
    data: Path,
    config: Callable[..., Path],
    given: dict[str, float],
    labels: list[Any],
    message: str,
) -> None:
    np.save(tmp_path / "labels.npy", np.array(labels))
    sources = ("--data", data, "--labels", tmp_path / "labels.npy")
    result = run(model, "-c", config(**given), *sources, "--epochs", 2, "-o", tmp_path / "tuned.onnx")
    assert result.exit_code == 2
    assert message in result.output
    assert "fix:" in result.output
    assert not (tmp_path / "tuned.onnx").exists()


def test_options_that_need_another(model: Path, data: Path) -> None:
    assert "needs --validation" in run(model, "--data", data, "--validation-labels", data).output
    assert "needs --checkpoints" in run(model, "--data", data, "--resume").output


def test_without_pytorch(model: Path, data: Path) -> None:
    hidden = "import sys; sys.modules['torch'] = None; from bfpc.cli import main; main()"
    command = [sys.executable, "-c", hidden, "retrain", str(model), "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'bfpc[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_train_as_one_with_twice_the_batch(
    tmp_path: Path, model: Path, data: Path, config: Callable[..., Path]
) -> None:
    def trained(processes: int) -> dict[str, torch.Tensor]:
        folder = tmp_path / str(processes)
        settings = config("int8", batch=16 // processes, flip=True)
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "bfpc"]
        arguments = ["retrain", model, "-c", settings, "--data", data, "--labels", tmp_path / "labels.npy"]
        outputs = ["--epochs", 2, "-o", tmp_path / f"{processes}.onnx", "--checkpoints", folder]
        command = [sys.executable, *launch, *map(str, [*arguments, *outputs])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("the weights after epoch 2") == 1  # one process prints
        state: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
        return state

    one, two = trained(1), trained(2)
    assert one.keys() == two.keys()
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "2.onnx").exists()
