"""The bit-exact emulator beside onnxruntime in float32: full-size networks, one image, the same cores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.builds import build, calibration_pictures, model
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS
from benchmarks.timing import interleaved
from bfpc.backend.build_folder import read_build
from bfpc.emulator.session import Emulator, real_values, stored_inputs

TITLE = "Emulator: full-size networks, one image, its quantization included"
BARS = {"int54": (2.0, 1.2), "int8": (3.5, 2.0)}  # times float32: at most, aim
MEMORY_BARS = {"resnet50": 2.0}  # GB
ROUNDS = {"resnet50": 15, "ssd300": 9, "unet": 5}


def measure() -> Iterator[Figure]:
    for name in NETWORKS:
        for preset in BARS:
            yield from _beside_float32(name, preset)


def _beside_float32(name: str, preset: str) -> Iterator[Figure]:
    image = np.load(calibration_pictures(name))[:1]
    session = ort.InferenceSession(model(name), providers=["CPUExecutionProvider"])
    graph = read_build(build(name, preset)).graph
    emulator = Emulator(graph, [port.value for port in graph.outputs])
    float32, exact = interleaved(
        lambda: session.run(None, {"image": image}),
        lambda: emulator.run(real_values(stored_inputs(graph, {"image": image}))),
        rounds=ROUNDS[name],
    )
    what, bars = f"{name} {preset}", BARS[preset]
    yield Figure(f"{what}, onnxruntime float32 beside it", 1e3 * float32.median, "ms, median")
    yield Figure(f"{what}, ratio of the medians", exact.median / float32.median, "times float32", *bars)
    yield Figure(f"{what}, ratio of the minima", exact.least / float32.least, "times float32", *bars)
    yield Figure(f"{what}, peak memory", _peak_memory(name, preset), "GB", MEMORY_BARS.get(name))


def _peak_memory(name: str, preset: str) -> float:
    """GB that a fresh process takes which reads a build and runs one image."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_one_image, (build(name, preset), calibration_pictures(name)))


def _run_one_image(folder: Path, pictures: Path) -> float:
    graph = read_build(folder).graph
    emulator = Emulator(graph, [port.value for port in graph.outputs])
    emulator.run(real_values(stored_inputs(graph, {"image": np.load(pictures)[:1]})))
    return _peak_of_this_process()


def _peak_of_this_process() -> float:
    """In GB. getrusage would also count the process that this one was started from."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise SystemExit(f"peak memory is read from {status}, which {sys.platform} does not have")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e9
