"""The build folder: written as a whole or not at all, and read back with every file checked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from bfpc.backend.build_schema import check_manifest
from bfpc.backend.design import Design, Vectors, design_files
from bfpc.backend.manifest import MANIFEST_VERSION, checksum, make_manifest, read_placement, read_segment
from bfpc.backend.quantized_graph import check_quantized
from bfpc.backend.weight_image import unpack_weights
from bfpc.config import Config
from bfpc.errors import BuildError, first_line
from bfpc.interruption import interruption_later
from bfpc.ir.graph import Constant, Graph
from bfpc.ir.partition import HostSegment
from bfpc.ir.text import parse_graph

MANIFEST = "manifest.json"
NEEDED = ("weights.bin", "program.bin", "schedule.json", "timeline.json", "network.ir", "model.onnx")
SHOWN_FAULTS = 3
COMPILE_AGAIN = "compile the model again with bfpc compile"
# What parsing and checking raise on values of the right types that make no sense together.
MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Build:
    """A build folder as read. manifest: manifest.json. host: what the host computes, in order; empty if nothing.

    contents: of every other file, by its path.
    """

    folder: Path
    manifest: Mapping[str, Any]
    graph: Graph
    config: Config
    host: tuple[HostSegment, ...]
    contents: Mapping[str, bytes]

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def group(self) -> int:
        """Channels of a group of the feature memory."""
        return int(self.manifest["feature_memory"]["group"])


def check_replaceable(folder: Path) -> None:
    """Raises BuildError where a build cannot be written to `folder` without destroying something else."""
    fix = "give another folder with -o, or remove it"
    try:
        free = not folder.exists() or (folder / MANIFEST).is_file()
        occupied = not free and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise BuildError(f"cannot look into the folder: {error}", where=str(folder), fix=fix) from None
    if occupied:
        what = "a folder that bfpc did not write" if folder.is_dir() else "a file"
        raise BuildError(f"{folder} is {what}", where=str(folder), fix=fix)
    place = next((path for path in folder.absolute().parents if path.exists()), folder)
    if not place.is_dir() or not os.access(place, os.W_OK):
        fix = "check its permissions, or give another folder with -o"
        raise BuildError(f"{place} is not a folder that can be written", where=str(folder), fix=fix)


def nothing_more(folder: Path) -> dict[str, bytes]:
    return {}


def write_build(
    design: Design,
    folder: Path,
    vectors: Vectors | None = None,
    describe: Callable[[Path], Mapping[str, bytes]] = nothing_more,
) -> None:
    """Writes a design to `folder`, replacing an earlier build.

    The files go to a folder beside it first, so that no one ever sees half a build. describe: makes more files, by
    their paths, of the build in that folder. Raises BuildError where the folder holds something else or cannot be
    written.
    """
    check_replaceable(folder)
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        for path, content in design_files(design, vectors).items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(content)
        for path, content in describe(partial).items():
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
    """Reads a build folder. Raises BuildError where it is none, or where a file is missing, changed or malformed."""
    manifest, contents = read_files(folder)
    try:
        return _understood(folder, manifest, contents)
    except MALFORMED as error:
        what = f"the files of the build contradict each other: {first_line(error)}"
        raise BuildError(what, where=str(folder), fix=COMPILE_AGAIN) from error


def _understood(folder: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes]) -> Build:
    """The build that the files describe. Raises one of MALFORMED where they describe none."""
    words, placed = np.frombuffer(contents["weights.bin"], "<u8"), read_placement(manifest)
    parameters = unpack_weights(words, placed.images)
    constants: dict[str, Constant] = {}
    for entry in manifest["layers"]:
        for role, constant in entry["constants"].items():
            constants[constant] = getattr(parameters[entry["name"]], role)
    graph = check_quantized(parse_graph(contents["network.ir"].decode(), constants).check())
    host = tuple(read_segment(entry, contents[entry["file"]]) for entry in manifest["host"])
    config = Config.model_validate(manifest["config"], strict=False)
    expected = make_manifest(graph, placed, config, host, manifest["outputs_of_network"], manifest["files"])
    expected |= {"bfpc_version": manifest["bfpc_version"]}
    expected["feature_memory"]["group"] = config.array_size.k_vec
    wrong = [key for key, value in expected.items() if not _same(value, manifest[key])]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} of {MANIFEST} and network.ir")
    return Build(folder, manifest, graph, config, host, contents)


def _same(made: Any, read: Any) -> bool:
    """Whether a value would be written as what was read; tuples are."""
    return json.dumps(made, sort_keys=True) == json.dumps(read, sort_keys=True)


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """manifest.json, and the content of every file by its path. Raises BuildError where one is missing or changed."""
    manifest = read_manifest(folder)
    return manifest, _checked_files(folder, manifest["files"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json. Raises BuildError where there is none, or where it is malformed or of another version."""
    fix = "give a folder that bfpc compile wrote"
    try:
        content = _read(folder, MANIFEST)
    except (OSError, ValueError) as error:
        raise BuildError(f"not a build folder: {first_line(error)}", where=str(folder), fix=fix) from None
    try:
        version = from_json(content)["manifest_version"]
    except (ValueError, TypeError, KeyError) as error:
        what = f"{MANIFEST} is not that of a build: {first_line(error)}"
        raise BuildError(what, where=str(folder), fix=fix) from None
    if version != MANIFEST_VERSION:
        what = f"the build is of version {version}, this bfpc reads version {MANIFEST_VERSION}"
        raise BuildError(what, where=str(folder / MANIFEST), fix=COMPILE_AGAIN)
    try:
        return check_manifest(content)
    except ValueError as error:
        raise BuildError(f"the build is damaged: {error}", where=str(folder / MANIFEST), fix=COMPILE_AGAIN) from None


def _checked_files(folder: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """The content of every file of the build, by its path."""
    contents, faults = {}, [f"{path} is not in {MANIFEST}" for path in NEEDED if path not in checksums]
    for path, expected in checksums.items():
        try:
            contents[path] = _read(folder, path)
        except (OSError, ValueError):
            faults.append(f"{path} is missing")
            continue
        if checksum(contents[path]) != expected:
            faults.append(f"{path} has changed")
    if faults:
        more = f" and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        what = f"the build is damaged: {', '.join(faults[:SHOWN_FAULTS])}{more}"
        raise BuildError(what, where=str(folder), fix=COMPILE_AGAIN)
    return contents


def _read(folder: Path, path: str) -> bytes:
    """A file that lies in the folder itself: nothing that a link leads to elsewhere, no pipe and no device."""
    file = (folder / path).resolve(strict=True)
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise FileNotFoundError(f"{path} is no file of the folder")
    return file.read_bytes()
