"""Mistakes in what accuracy is measured by: labels, functions of the user's, the section `measure`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.conftest import Golden
from tests.errors.provoke import Prepare, Situation, check_table, save_network, write
from tests.networks.onnx_writer import OnnxWriter, Tensor

EVALUATE = "evaluate net.onnx --inputs data.npy --processes 1"
LABELLED = f"{EVALUATE} --labels"


def classifier() -> None:
    """Of 4 classes."""

    def build(net: OnnxWriter, x: Tensor) -> Tensor:
        conv = net.node("Conv", [x.name, net.normal(4, 3, 1, 1)], (1, 4, 8, 8))
        return net.reshape(net.node("GlobalAveragePool", [conv.name], (1, 4, 1, 1)), (1, 4))

    save_network(build, 1, 3, 8, 8)
    np.save("data.npy", np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))


def segmenter() -> None:
    """Maps of 4 channels, 8 x 8."""
    np.save("data.npy", np.zeros((2, 3, 8, 8), np.float32))


def detector() -> None:
    """8 anchors, of 2 classes."""

    def constant(name: str, *values: Any) -> TensorProto:
        return numpy_helper.from_array(np.array(values), name)

    weight = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["r"]),
        helper.make_node("Split", ["r", "parts"], ["boxes", "scores"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 2]),
        ],
        [numpy_helper.from_array(weight, "w"), constant("shape", 1, 1, 6), constant("parts", 4, 2)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    np.save("data.npy", np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))


def labels(content: Any, name: str = "labels.json", network: Prepare = classifier) -> None:
    network()
    if name.endswith(".npy"):
        np.save(name, np.asarray(content))
    elif name.endswith(".npz"):
        np.savez(name, **content)
    else:
        write(name, content if isinstance(content, str | bytes) else json.dumps(content))


def test_labels(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Any] = {
        "no JSON": "{",
        "a list": [1, 2],
        "missing labels": {"0": 1},
        "a label of another kind": {"0": 1, "1": "cat"},
        "objects without boxes": {"0": [{"class": 1}], "1": []},
        "boxes beyond the picture": {"0": [{"class": 1, "box": [0, 0, 224, 224]}], "1": []},
    }
    arrays: dict[str, tuple[str, Any]] = {
        "too few labels": ("labels.npy", [1]),
        "labels below zero": ("labels.npy", [1, -1]),
        "an archive without labels": ("labels.npz", {"truth": [1, 2]}),
        "a class that the network does not have": ("labels.npy", [1, 4]),
    }
    table = [
        Situation("no such file", f"{LABELLED} nowhere.json", classifier),
        Situation("another file", f"{LABELLED} labels.txt", partial(labels, "1 2", "labels.txt")),
        *(Situation(name, f"{LABELLED} labels.json", partial(labels, content)) for name, content in files.items()),
        *(
            Situation(name, f"{LABELLED} {file}", partial(labels, content, file))
            for name, (file, content) in arrays.items()
        ),
    ]
    check_table(table, "labels", golden, tmp_path, monkeypatch)


def configured(network: Prepare, config: str, content: Any = None, name: str = "labels.npy") -> None:
    network()
    write("config.yaml", config)
    if content is not None:
        labels(content, name, network)


def masks() -> None:
    """Pictures in colour, where masks are expected."""
    segmenter()
    write("config.yaml", "measure: {kind: segmentation}\n")
    Path("masks").mkdir()
    for name in ("0", "1"):
        Image.new("RGB", (8, 8)).save(f"masks/{name}.png")


def anchors(shape: tuple[int, ...]) -> None:
    configured(detector, "measure: {kind: detection, detection: {anchors: anchors.npy}}\n")
    np.save("anchors.npy", np.zeros(shape))


def test_measures(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = f"{EVALUATE} -c ./config.yaml"
    detection = "measure: {kind: detection, detection: {%s}}\n"
    labelled = f"{config} --labels labels.npy"
    maps = np.zeros((2, 8, 8), np.uint8)
    box = {"0": [{"class": 7, "box": [0, 0, 1, 1]}], "1": []}
    table = [
        Situation(
            "boxes for a classifier",
            labelled.replace(".npy", ".npy"),
            partial(configured, classifier, "measure: {kind: detection}\n", [0, 1]),
        ),
        Situation("maps of any kind", labelled, partial(configured, segmenter, "", maps)),
        Situation(
            "an output that there is not",
            config,
            partial(configured, classifier, "measure: {kind: classification, output: y}\n"),
        ),
        Situation("no output that fits", config, partial(configured, classifier, "measure: {kind: segmentation}\n")),
        Situation("masks of colours", f"{config} --labels masks", masks),
        Situation(
            "a class that masks do not have",
            labelled,
            partial(configured, segmenter, "measure: {kind: segmentation}\n", maps + 9),
        ),
        Situation(
            "pictures of another size",
            labelled,
            partial(configured, segmenter, "measure: {kind: picture}\n", np.zeros((2, 9, 9))),
        ),
        Situation(
            "a class that a detector does not have",
            f"{config} --labels labels.json",
            partial(configured, detector, detection % "", box, "labels.json"),
        ),
        Situation("no anchors", config, partial(configured, detector, detection % "anchors: nowhere.npy")),
        Situation("anchors of another shape", config, partial(anchors, (3, 4))),
        Situation(
            "boxes of another shape", config, partial(configured, detector, detection % "boxes: scores, scores: boxes")
        ),
    ]
    check_table(table, "measure", golden, tmp_path, monkeypatch)


def metric(text: str) -> None:
    classifier()
    write("mine.py", text)


def test_functions(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"{EVALUATE} --metric"
    faults = {
        "a module that fails": "1 / 0\n",
        "a module without the function": "",
        "a function that fails": "def score(outputs, reference, labels):\n    return outputs['y']\n",
        "a function that returns no numbers": "def score(outputs, reference, labels):\n    return 1\n",
    }

    def forget(patch: pytest.MonkeyPatch) -> None:
        import sys

        patch.delitem(sys.modules, "mine", raising=False)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "dont_write_bytecode", True)

    def decoder() -> None:
        configured(detector, "measure: {kind: detection, detection: {decode: 'mine:decode'}}\n")
        write("mine.py", "def decode(outputs):\n    return 1\n")

    table = [
        Situation("no name of a function", f"{named} mine", classifier),
        Situation("no such module", f"{named} mine:score", classifier, patch=forget),
        *(Situation(name, f"{named} mine:score", partial(metric, text), patch=forget) for name, text in faults.items()),
        Situation("a function that decodes nothing", f"{EVALUATE} -c ./config.yaml", decoder, patch=forget),
    ]
    check_table(table, "functions", golden, tmp_path, monkeypatch)
