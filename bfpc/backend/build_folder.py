"""The build folder: written as a whole or not at all, and read back with every file checked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bfpc.backend.design import Design, Vectors, design_files
from bfpc.backend.manifest import MANIFEST_VERSION, checksum, read_layer_image, read_segment
from bfpc.backend.weight_image import unpack_weights
from bfpc.config import Config
from bfpc.errors import BuildError
from bfpc.interruption import interruption_later
from bfpc.ir.graph import Constant, Graph
from bfpc.ir.partition import HostSegment
from bfpc.ir.text import parse_graph

MANIFEST = "manifest.json"
COMPILE_AGAIN = "compile the model again with bfpc compile"


@dataclass(frozen=True)
class Build:
    """A build folder as read. manifest: manifest.json. host: what the host computes, in order; empty if nothing."""

    folder: Path
    manifest: Mapping[str, Any]
    graph: Graph
    config: Config
    host: tuple[HostSegment, ...]

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def group(self) -> int:
        """Channels of a group of the feature memory."""
        return int(self.manifest["feature_memory"]["group"])


def check_replaceable(folder: Path) -> None:
    """Raises BuildError where a build cannot be written to `folder` without destroying something else."""
    if not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        what = "a folder that bfpc did not write" if folder.is_dir() else "a file"
        raise BuildError(f"{folder} is {what}", where=str(folder), fix="give another folder with -o, or remove it")


def write_build(design: Design, folder: Path, vectors: Vectors | None = None) -> None:
    """Writes a design to `folder`, replacing an earlier build.

    The files go to a folder beside it first, so that no one ever sees half a build. Raises BuildError where the
    folder holds something else or cannot be written.
    """
    check_replaceable(folder)
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        for path, content in design_files(design, vectors).items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(content)
        with interruption_later():
            _replace(partial, folder)
    except OSError as error:
        fix = "check the folder's permissions and the free space, or give another folder with -o"
        raise BuildError(f"cannot write the build: {error}", where=str(folder), fix=fix) from error
    finally:
        with interruption_later():
            shutil.rmtree(partial, ignore_errors=True)


def _replace(partial: Path, folder: Path) -> None:
    if not folder.exists():
        partial.rename(folder)
        return
    former = partial.with_suffix(".former")
    folder.rename(former)
    try:
        partial.rename(folder)
    except OSError:
        former.rename(folder)
        raise
    shutil.rmtree(former)


def read_build(folder: Path) -> Build:
    """Reads a build folder. Raises BuildError where it is none, or where a file is missing or changed."""
    manifest = read_manifest(folder)
    contents = _checked_files(folder, manifest["files"])
    words = np.frombuffer(contents["weights.bin"], "<u8")
    layers = {entry["name"]: entry for entry in manifest["layers"]}
    parameters = unpack_weights(words, {name: read_layer_image(entry) for name, entry in layers.items()})
    constants: dict[str, Constant] = {}
    for name, entry in layers.items():
        for role, constant in entry["constants"].items():
            constants[constant] = getattr(parameters[name], role)
    graph = parse_graph(contents["network.ir"].decode(), constants)
    host = tuple(read_segment(entry, contents[entry["file"]]) for entry in manifest["host"])
    return Build(folder, manifest, graph, Config.model_validate(manifest["config"], strict=False), host)


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json. Raises BuildError where there is none, or where it is of another version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        fix = "give a folder that bfpc compile wrote"
        raise BuildError(f"not a build folder: {error}", where=str(folder), fix=fix) from None
    version = manifest.get("manifest_version") if isinstance(manifest, dict) else None
    if version != MANIFEST_VERSION:
        what = f"the build is of version {version}, this bfpc reads version {MANIFEST_VERSION}"
        raise BuildError(what, where=str(folder / MANIFEST), fix=COMPILE_AGAIN)
    assert isinstance(manifest, dict)
    return manifest


def _checked_files(folder: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """The content of every file of the build, by its path."""
    contents, faults = {}, []
    for path, expected in checksums.items():
        try:
            contents[path] = (folder / path).read_bytes()
        except OSError:
            faults.append(f"{path} is missing")
            continue
        if checksum(contents[path]) != expected:
            faults.append(f"{path} has changed")
    if faults:
        raise BuildError(f"the build is damaged: {', '.join(faults)}", where=str(folder), fix=COMPILE_AGAIN)
    return contents
