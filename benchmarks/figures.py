"""How a benchmark tells what it found: figures beside their bars, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Figure:
    """A measured value. `bar` and `aim` bound it from above, or from below where `more_is_better`."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    aim: float | None = None
    more_is_better: bool = False

    def __str__(self) -> str:
        return f"{self.what:<46} {self.value:>8.3f} {self.unit:<18} {self._judged()}".rstrip()

    def _judged(self) -> str:
        if self.bar is None:
            return ""
        within = self.value >= self.bar if self.more_is_better else self.value <= self.bar
        bound = "at least" if self.more_is_better else "at most"
        aim = "" if self.aim is None else f", aim {self.aim:.4g}"
        return f"{'met' if within else 'MISSED'}: {bound} {self.bar:.4g}{aim}"


def print_machine() -> None:
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    print(f"machine: {_processor()}, {cores} cores, load {load:.1f} at the start; {_compiler()}")
    print(f"         Python {platform.python_version()}, {libraries}", flush=True)


def print_figures(title: str, figures: Iterable[Figure]) -> None:
    print(f"\n{title}", flush=True)
    for figure in figures:
        print(f"  {figure}", flush=True)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _compiler() -> str:
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        return f"no {name}"
    ran = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=False)
    return f"{name} {ran.stdout.strip()}"
