"""Trained classifiers without retraining: agreement with float32 on pictures that did not calibrate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.builds import (
    CALIBRATION_IMAGES,
    SHARED,
    Trained,
    available,
    build,
    compared_pictures,
)
from benchmarks.figures import Figure
from bfpc.backend.build_folder import read_build
from bfpc.comparison import measure as compare
from bfpc.data import load_inputs
from bfpc.emulator.session import Emulator, real_values, stored_inputs
from bfpc.ir.graph import Graph
from bfpc.runtime.signature import input_specs, read_signature

TITLE = (
    f"Accuracy: calibrated on {CALIBRATION_IMAGES} pictures, compared on others (photographs: the remaining 92; "
    "resnet20: 5000 test pictures)"
)
PRESETS = ("int8", "int54", "int4")
CIFAR10_PICTURES = 5000
AGREEMENT_BARS = {("resnet20", "int8"): 99, ("efficientnet_lite0", "int8"): 95, ("mobilenetv2", "int8"): 95}
BATCH = 4

Scores = NDArray[np.float32]  # [images, classes]


def measure() -> Iterator[Figure]:
    classifiers = {name: trained for name, trained in available().items() if trained.classifies}
    for name, trained in classifiers.items():
        labels = _labels(trained)
        for preset in PRESETS:
            expected, found = _scores(build(name, preset), compared_pictures(name, CIFAR10_PICTURES))
            compared = compare(expected, found).comparison(name)
            agreement, bar = 100 * (compared.top1_agreement or 0), AGREEMENT_BARS.get((name, preset))
            yield Figure(f"{name} {preset}, top-1", agreement, "% agree", bar, more_is_better=True)
            assert compared.sqnr_db is not None
            yield Figure(f"{name} {preset}, class scores", compared.sqnr_db, "dB SQNR")
            if labels is not None:
                right, of_float = (100 * float(np.mean(s.argmax(axis=1) == labels)) for s in (found, expected))
                yield Figure(f"{name} {preset}, top-1 (float32 {of_float:.2f} %)", right, "% right")


def _labels(trained: Trained) -> NDArray[Any] | None:
    """The classes of the pictures, where somebody wrote them down."""
    if trained.pictures != "cifar10":
        return None
    with np.load(SHARED / "data" / "cifar10_test.npz") as archive:
        labels: NDArray[Any] = archive["labels"][:CIFAR10_PICTURES]
    return labels


def _scores(folder: Path, pictures: Path) -> tuple[Scores, Scores]:
    """The class scores of the original network and of the build, before a softmax that the host computes."""
    read = read_build(folder)
    specs = input_specs(read_signature(onnx.load(read.model), read.graph), read.graph)
    data = load_inputs(pictures, specs, read.config.preprocessing, CIFAR10_PICTURES)
    ((name, images),) = data.arrays.items()
    output = read.graph.outputs[0].name
    original, emulator = _original(read.model, output), Emulator(read.graph, [read.graph.outputs[0].value])
    expected = np.concatenate([original.run([output], {name: image[np.newaxis]})[0] for image in images])
    starts = range(0, len(images), BATCH)
    found = np.concatenate([_emulated(read.graph, emulator, name, images[start : start + BATCH]) for start in starts])
    return expected, found.reshape(expected.shape)


def _original(model: Path, output: str) -> ort.InferenceSession:
    """The original network, which hands `output` out."""
    network = onnx.load(model)
    if output not in {value.name for value in network.graph.output}:
        network.graph.output.append(onnx.ValueInfoProto(name=output))
    return ort.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])


def _emulated(graph: Graph, emulator: Emulator, name: str, images: NDArray[Any]) -> Scores:
    (scores,) = emulator.run(real_values(stored_inputs(graph, {name: images}))).values()
    return scores
