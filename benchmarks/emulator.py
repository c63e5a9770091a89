"""The bit-exact emulator beside onnxruntime in float32: a full-size ResNet-50, one image, the same cores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.builds import full_size_build, full_size_model, full_size_pictures
from benchmarks.figures import Figure
from benchmarks.timing import interleaved
from bfpc.backend.build_folder import read_build
from bfpc.emulator.session import Emulator, real_values, stored_inputs

TITLE = "Emulator: full-size ResNet-50, one image, its quantization included"
BARS = {"int54": (2.0, 1.2), "int8": (3.5, 2.0)}  # times float32: at most, aim
MEMORY_BAR = 2.0  # GB
ROUNDS = 15


def measure() -> Iterator[Figure]:
    image = np.load(full_size_pictures("resnet50"))[:1]
    session = ort.InferenceSession(full_size_model("resnet50"), providers=["CPUExecutionProvider"])
    for preset, (bar, aim) in BARS.items():
        graph = read_build(full_size_build("resnet50", preset)).graph
        emulator = Emulator(graph, [port.value for port in graph.outputs])
        float32, exact = interleaved(
            lambda: session.run(None, {"image": image}),
            lambda graph=graph, emulator=emulator: emulator.run(real_values(stored_inputs(graph, {"image": image}))),  # type: ignore[misc]
            rounds=ROUNDS,
        )
        yield Figure(f"onnxruntime float32, beside {preset}", 1e3 * float32.median, "ms, median")
        yield Figure(f"{preset}, ratio of the medians", exact.median / float32.median, "times float32", bar, aim)
        yield Figure(f"{preset}, ratio of the minima", exact.least / float32.least, "times float32", bar, aim)
        yield Figure(f"{preset}, peak memory", _peak_memory(full_size_build("resnet50", preset)), "GB", MEMORY_BAR)


def _peak_memory(build: Path) -> float:
    """GB that a fresh process takes which reads a build and runs one image."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_one_image, (build, full_size_pictures("resnet50")))


def _run_one_image(build: Path, pictures: Path) -> float:
    graph = read_build(build).graph
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
