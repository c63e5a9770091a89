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

from benchmarks.builds import CALIBRATION_IMAGES, full_size_model, full_size_pictures, scratch
from benchmarks.figures import Figure
from benchmarks.timing import Times, interleaved

TITLE = f"Compile time: full-size ResNet-50, int54, {CALIBRATION_IMAGES} calibration images, everything written"
INFERENCES_PER_IMAGE, CONSTANT_SECONDS = 30, 10
ROUNDS = 3


def measure() -> Iterator[Figure]:
    image = np.load(full_size_pictures("resnet50"))[:1]
    session = ort.InferenceSession(full_size_model("resnet50"), providers=["CPUExecutionProvider"])
    rounds = [(_inference_times(session, image), _compile_seconds()) for _ in range(ROUNDS)]
    inferences, seconds = zip(*rounds, strict=True)
    yield from _beside("median", median(times.median for times in inferences), median(seconds))
    yield from _beside("least", min(times.least for times in inferences), min(seconds))


def _beside(what: str, inference: float, seconds: float) -> Iterator[Figure]:
    bar = INFERENCES_PER_IMAGE * CALIBRATION_IMAGES * inference + CONSTANT_SECONDS
    yield Figure(f"onnxruntime float32, one inference, {what}", 1e3 * inference, "ms")
    yield Figure(f"bfpc compile, {what} of {ROUNDS}", seconds, "s", bar, bar / 2)


def _inference_times(session: ort.InferenceSession, image: NDArray[np.float32]) -> Times:
    (times,) = interleaved(lambda: session.run(None, {"image": image}), rounds=15)
    return times


def _compile_seconds() -> float:
    """Of the command as a user runs it, the start of Python included."""
    arguments = ["compile", full_size_model("resnet50"), "-c", "int54", "-o", scratch() / "compile-time"]
    arguments += ["--calibration", full_size_pictures("resnet50")]
    command = [sys.executable, "-c", "from bfpc.cli import main; main()", *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
