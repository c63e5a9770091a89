"""Builds and runs a build folder's C simulation."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bfpc.backend.bit_packing import Words
from bfpc.backend.build_folder import COMPILE_AGAIN, Build
from bfpc.backend.build_schema import read_architecture
from bfpc.backend.design import design_files, make_design
from bfpc.errors import BuildError

MEMORIES = ("program.bin", "weights.bin")
SHOWN_FILES = 3
# What make hands to a make that it starts: the options of a Makefile that calls bfpc are not for this one.
OUTER_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")


def write_sources(build: Build) -> Path:
    """A folder of its own, as long as the process lasts, with what the C simulation is made of and runs on.

    None of it is taken from the build's files, which may be anybody's: it is made anew, and compared with them. Raises
    BuildError where they differ.
    """
    architecture = read_architecture(build.contents["schedule.json"])
    outputs, model = build.manifest["outputs_of_network"], build.contents["model.onnx"]
    files = design_files(make_design(build.graph, architecture, build.config, model, outputs, build.host))
    made = {path: content for path, content in files.items() if path.startswith("hls/") or path in MEMORIES}
    wrong = [path for path, content in made.items() if build.contents.get(path) != content]
    if wrong:
        what = (
            f"of the build's network this bfpc makes other files than the build holds: {', '.join(wrong[:SHOWN_FILES])}"
        )
        raise BuildError(what, where=str(build.folder), fix=COMPILE_AGAIN)
    with _free_space():
        scratch = Path(tempfile.mkdtemp(prefix="bfpc-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        for path, content in made.items():
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).write_bytes(content)
    return scratch


@contextmanager
def _free_space() -> Iterator[None]:
    """Raises BuildError where temporary files cannot be written."""
    try:
        yield
    except OSError as error:
        fix = "check its permissions and the free space, or name another one with TMPDIR"
        what = f"the C simulation cannot write its files: {error}"
        raise BuildError(what, where="the folder for temporary files", fix=fix) from error


def build_simulation(folder: Path) -> Path:
    """Compiles the C simulation of a folder with make.

    Returns the executable. Raises BuildError where a tool is missing or the sources don't compile.
    """
    for tool in ("make", os.environ.get("CXX", "g++")):
        if shutil.which(tool) is None:
            fix = f"install {tool} (on Debian or Ubuntu: apt install build-essential), or do without the C simulation"
            raise BuildError(f"C simulation needs {tool}, which is not on the PATH", where="--csim", fix=fix)
    surroundings = {name: value for name, value in os.environ.items() if name not in OUTER_MAKE}
    made = subprocess.run(
        ["make", "--silent", "build"],
        cwd=folder / "hls",
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        what = f"the C simulation does not compile:\n{made.stderr.strip()}"
        raise BuildError(
            what, where="make build", fix="check CXX and CXXFLAGS, and the space in the folder for temporary files"
        )
    return folder / "hls" / "csim"


def run_simulation(folder: Path, executable: Path, inputs: Words, layers: int | None = None) -> Words:
    """Runs the C simulation on one image.

    inputs: the words of the network's input maps. layers: how many layers run, counted from the first; None for all.
    Returns the words of every layer's output, one after the other.
    """
    with _free_space(), tempfile.TemporaryDirectory() as scratch:
        source, trace = Path(scratch) / "input.bin", Path(scratch) / "trace.bin"
        source.write_bytes(inputs.astype("<u8").tobytes())
        files = (executable.resolve(), folder / "program.bin", folder / "weights.bin", source, trace)
        command = [*map(str, files), *([] if layers is None else [str(layers)])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            fix = "compile the model again, or do without the C simulation"
            raise BuildError(f"the C simulation failed: {ran.stderr.strip()}", where=str(executable), fix=fix)
        return np.frombuffer(trace.read_bytes(), "<u8")
