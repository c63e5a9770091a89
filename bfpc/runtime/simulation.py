"""Builds and runs a build folder's C simulation."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bfpc.backend.bit_packing import Words
from bfpc.errors import BuildError


def build_simulation(folder: Path) -> Path:
    """Compiles the C simulation of a build folder with make, in a copy where the folder can't be written.

    Returns the executable. Raises BuildError where a tool is missing or the sources don't compile.
    """
    for tool in ("make", os.environ.get("CXX", "g++")):
        if shutil.which(tool) is None:
            fix = f"install {tool} (on Debian or Ubuntu: apt install build-essential), or do without the C simulation"
            raise BuildError(f"C simulation needs {tool}, which is not on the PATH", where=str(folder), fix=fix)
    sources = folder / "hls" if os.access(folder / "hls", os.W_OK) else _copy(folder / "hls")
    made = subprocess.run(["make", "--silent", "build"], cwd=sources, capture_output=True, text=True, check=False)
    if made.returncode:
        where, fix = str(folder / "hls"), "run 'make build' there; the generated C++ should compile as it is"
        raise BuildError(f"the C simulation does not compile:\n{made.stderr.strip()}", where=where, fix=fix)
    return sources / "csim"


def _copy(folder: Path) -> Path:
    """A copy that lasts as long as the process."""
    scratch = tempfile.mkdtemp(prefix="bfpc-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    copied = shutil.copytree(folder, Path(scratch) / folder.name)
    copied.chmod(0o755)
    return copied


def run_simulation(folder: Path, executable: Path, inputs: Words, layers: int | None = None) -> Words:
    """Runs the C simulation on one image.

    inputs: the words of the network's input maps. layers: how many layers run, counted from the first; None for all.
    Returns the words of every layer's output, one after the other.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, trace = Path(scratch) / "input.bin", Path(scratch) / "trace.bin"
        source.write_bytes(inputs.astype("<u8").tobytes())
        files = (executable.resolve(), folder / "program.bin", folder / "weights.bin", source, trace)
        command = [*map(str, files), *([] if layers is None else [str(layers)])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            fix = "compile the model again, or do without the C simulation"
            raise BuildError(f"the C simulation failed: {ran.stderr.strip()}", where=str(executable), fix=fix)
        return np.frombuffer(trace.read_bytes(), "<u8")
