"""Builds and runs a build folder's C simulation."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from bfpc.backend.bit_packing import Words
from bfpc.errors import BuildError


def build_simulation(folder: Path) -> Path:
    """Compiles the C simulation of a build folder with make; returns the executable."""
    for tool in ("make", os.environ.get("CXX", "g++")):
        if shutil.which(tool) is None:
            fix = f"install {tool} (on Debian or Ubuntu: apt install build-essential), or verify without --csim"
            raise BuildError(f"C simulation needs {tool}, which is not on the PATH", where=str(folder), fix=fix)
    made = subprocess.run(
        ["make", "--silent", "build"], cwd=folder / "hls", capture_output=True, text=True, check=False
    )
    if made.returncode:
        where, fix = str(folder / "hls"), "run 'make build' there; the generated C++ should compile as it is"
        raise BuildError(f"the C simulation does not compile:\n{made.stderr.strip()}", where=where, fix=fix)
    return folder / "hls" / "csim"


def run_simulation(folder: Path, executable: Path, inputs: Words) -> Words:
    """Runs the C simulation on one image.

    inputs: the words of the network's input maps. Returns the words of every layer's output, one after the other.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, trace = Path(scratch) / "input.bin", Path(scratch) / "trace.bin"
        source.write_bytes(inputs.astype("<u8").tobytes())
        command = [executable.resolve(), folder / "program.bin", folder / "weights.bin", source, trace]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            fix = "compile the model again, or verify without --csim"
            raise BuildError(f"the C simulation failed: {ran.stderr.strip()}", where=str(executable), fix=fix)
        return np.frombuffer(trace.read_bytes(), "<u8")
