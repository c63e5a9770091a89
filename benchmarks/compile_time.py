"""`bfpc compile` as a whole beside the float inferences that calibration cannot do without."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.builds import CALIBRATION_IMAGES, calibration_pictures, model, scratch
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS
from benchmarks.timing import Times, interleaved

TITLE = f"Compile time: full-size networks, int54, {CALIBRATION_IMAGES} calibration images, everything written"
INFERENCES_PER_IMAGE, CONSTANT_SECONDS = 30, 10
ROUNDS = 3
INFERENCES = {"resnet50": 15, "ssd300": 5, "unet": 3}  # timed in each round


def measure() -> Iterator[Figure]:
    for name in NETWORKS:
        image = np.load(calibration_pictures(name))[:1]
        session = ort.InferenceSession(model(name), providers=["CPUExecutionProvider"])
        rounds = [(_inference_times(session, image, INFERENCES[name]), _compile_seconds(name)) for _ in range(ROUNDS)]
        inferences, seconds = zip(*rounds, strict=True)
        yield from _beside(f"{name}, median", median(times.median for times in inferences), median(seconds))
        yield from _beside(f"{name}, least", min(times.least for times in inferences), min(seconds))


def _beside(what: str, inference: float, seconds: float) -> Iterator[Figure]:
    bar = INFERENCES_PER_IMAGE * CALIBRATION_IMAGES * inference + CONSTANT_SECONDS
    yield Figure(f"{what}, onnxruntime float32, one inference", 1e3 * inference, "ms")
    yield Figure(f"{what} of {ROUNDS}, bfpc compile", seconds, "s", bar, bar / 2)


def _inference_times(session: ort.InferenceSession, image: NDArray[np.float32], rounds: int) -> Times:
    (times,) = interleaved(lambda: session.run(None, {"image": image}), rounds=rounds)
    return times


def _compile_seconds(name: str) -> float:
    """Of the command as a user runs it, the start of Python included."""
    arguments = ["compile", model(name), "-c", "int54", "-o", scratch() / "compile-time"]
    arguments += ["--calibration", calibration_pictures(name)]
    command = [sys.executable, "-c", "from bfpc.cli import main; main()", *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
