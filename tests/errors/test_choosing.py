"""Searches, explorations, evaluations and trainings that cannot be done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from bfpc.cli import main
from tests.conftest import Golden
from tests.errors.provoke import Situation, check_table, save_network, small_network, write
from tests.errors.test_measuring import classifier
from tests.networks.onnx_writer import OnnxWriter, Tensor

FORMATS = "search: {activation_bits: [8], weight_bits: [4, 8], checks: 0}\n"
MEASURED = "chosen.sensitivity.jsonl"  # a search of another budget begins with it
AUTO = f"precision: auto\n{FORMATS}"


def configured(text: str, **others: str) -> None:
    classifier()
    write("config.yaml", text)
    for name, content in others.items():
        write(f"{name}.yaml", content)


def only_indices() -> None:
    """A network whose output is no signal."""

    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        conv = net.node("Conv", [x.name, net.normal(4, 3, 1, 1)], (1, 4, 8, 8))
        return net.node("ArgMax", [conv.name], (1, 1, 8, 8), axis=1)

    configured(f"{AUTO}budget: {{at_least: 10}}\n")
    save_network(build, 1, 3, 8, 8)
    model = onnx.load("net.onnx")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, "net.onnx")


def another_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a layer that the compiler does not make."""
    monkeypatch.setattr("bfpc.training.network.trace", lambda *_: {("norm0", "weight"): None})


def test_searches(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = "search net.onnx -c ./config.yaml --processes 1"
    budgets = {
        "no budget": AUTO,
        "an accuracy out of reach": f"{AUTO}budget: {{at_least: 200}}\n",
        "a cost out of reach": f"{AUTO}budget: {{at_most: 10}}\n",
        "an unknown score": f"{AUTO}budget: {{accuracy: top3, at_least: 1}}\n",
        "blocks that no array holds": f"{AUTO}budget: {{at_least: 1}}\narchitecture: {{block: 4, k_vec: 4}}\n"
        "formats: {activation: {block_size: 4}, weight: {block_size: 4}}\n",
        "cycles of a wide array": f"{AUTO}budget: {{cost: cycles, at_least: 1}}\n",
        "the area of a given array": f"{AUTO}budget: {{cost: area, at_least: 1}}\narchitecture: {{weight_bits: 4}}\n",
    }

    def measured(content: str | bytes) -> None:
        configured(f"{AUTO}budget: {{at_least: 10}}\n")
        write("chosen.sensitivity.jsonl", content)

    table = [
        *(Situation(name, search, partial(configured, text), leaves=MEASURED) for name, text in budgets.items()),
        Situation("outputs that are no signals", search, only_indices, leaves=MEASURED),
        Situation("nothing to resume", f"{search} --resume", partial(configured, f"{AUTO}budget: {{at_least: 10}}\n")),
        Situation("measurements of others", f"{search} --resume", partial(measured, '{"key": "other"}\n')),
        Situation("measurements that are no text", f"{search} --resume", partial(measured, b"\xff")),
    ]
    check_table(table, "search", golden, tmp_path, monkeypatch)


def test_evaluations(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = "evaluate net.onnx --inputs data.npy --processes 1 -c ./config.yaml"
    other = {"other": "preprocessing: {divide: 2}\n"}
    published = "arithmetic: published\n"
    table = [
        Situation("formats yet to be chosen", evaluate, partial(configured, AUTO)),
        Situation(
            "configs that differ",
            f"{evaluate} -c ./other.yaml",
            partial(configured, "preprocessing: {divide: 1}\n", **other),
        ),
        Situation(
            "published formats for a layer",
            evaluate,
            partial(configured, f"{published}formats: {{input: {{mantissa_bits: 8}}}}\n"),
        ),
        Situation(
            "hardware for published formats", "compile net.onnx -c ./config.yaml", partial(configured, published)
        ),
        Situation("labels without inputs", "verify build --labels labels.npy", built),
    ]
    check_table(table, "evaluation", golden, tmp_path, monkeypatch)


def built() -> None:
    small_network()
    assert CliRunner().invoke(main, ["compile", "net.onnx"]).exit_code == 0


def large() -> None:
    """More than a small device holds, in formats that take much."""

    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        return net.node("Conv", [x.name, net.normal(64, 64, 3, 3)], (1, 64, 6, 298))

    save_network(build, 1, 64, 8, 300)


def test_explorations(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explore = "explore net.onnx -c ./config.yaml --processes 1 --device"

    def sized(text: str) -> None:
        large()
        write("config.yaml", text)

    huge = "architecture: {c_vec: 256, k_vec: 256, multipliers: luts}\n"
    table = [
        Situation("no such device", f"{explore} kv261", partial(sized, "")),
        Situation("more images than the device makes", f"{explore} zu9 --fps 1e9", partial(sized, "")),
        Situation("an array that does not fit", f"{explore} zynq7020", partial(sized, huge)),
    ]
    check_table(table, "exploration", golden, tmp_path, monkeypatch)


# -- training ---------------------------------------------------------------------------------------------------------


def repeated_channels() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "i"], ["g"], axis=1), helper.make_node("Conv", ["g", "w"], ["y"])],
        "repeated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.array([0, 1, 1, 2]), "i"), numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    np.save("data.npy", np.zeros((2, 3, 8, 8), np.float32))


def vectors() -> None:
    """A network that takes no pictures."""

    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        return net.node("Gemm", [x.name, net.normal(6, 4)], (1, 4))

    save_network(build, 1, 6)
    np.save("data.npy", np.zeros((2, 6), np.float32))
    write("config.yaml", "training: {flip: true}\n")


def labelled(labels: Sequence[Any], config: str = "", *, classes: bool = True) -> None:
    classifier()
    if not classes:
        small_network()
    np.save("labels.npy", np.array(labels))
    write("config.yaml", config)


def checkpoint(content: bytes | dict[str, Any]) -> None:
    import torch

    classifier()
    Path("checkpoints").mkdir()
    if isinstance(content, bytes):
        write("checkpoints/checkpoint.pt", content)
    else:
        torch.save(content, "checkpoints/checkpoint.pt")


class Dangerous:
    """What pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_trainings(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    retrain = "retrain net.onnx --data data.npy --epochs 1"
    own = f"{retrain} -c ./config.yaml"
    resume = f"{retrain} --checkpoints checkpoints --resume"
    parts = ("settings", "network", "optimizer", "schedule", "best", "figures")
    others: dict[str, Any] = {part: {} for part in parts} | {"settings": "other", "figures": []}
    table = [
        Situation("repeated channels", retrain, repeated_channels),
        Situation("normalizations folded otherwise", retrain, classifier, patch=another_layer),
        Situation("no pictures to mirror", own, vectors),
        Situation("no output of class scores", f"{own} --labels labels.npy", partial(labelled, [0, 1], classes=False)),
        Situation("labels that are no classes", f"{own} --labels labels.npy", partial(labelled, [[[0]], [[1]]])),
        Situation("a class that there is not", f"{own} --labels labels.npy", partial(labelled, [0, 4])),
        Situation(
            "a loss that is no number",
            f"{own} --labels labels.npy",
            partial(labelled, [0, 1], "training: {temperature: 1.0e+30}\n"),
        ),
        Situation("a checkpoint already", f"{retrain} --checkpoints checkpoints", partial(checkpoint, b"")),
        Situation("a broken checkpoint", resume, partial(checkpoint, b"broken")),
        Situation("a checkpoint that would run code", resume, partial(checkpoint, {"settings": Dangerous()})),
        Situation("a checkpoint of another training", resume, partial(checkpoint, others)),
        Situation("checkpoints in a file", f"{retrain} --checkpoints net.onnx", classifier),
    ]
    check_table(table, "training", golden, tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("executed"))
