"""Measured sensitivities in a file, as they come, so that a search that was interrupted goes on from there.

JSON lines: the first holds the key of what is measured, each other one an answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.errors import BuildError, DataError
from bfpc.search.sensitivity import Answer

UNRELATED = ("budget", "verify", "training")  # sections of the config that change no sensitivity


def state_key(model: bytes, config: Config, arrays: Mapping[str, NDArray[Any]]) -> str:
    """The same for searches that measure the same: of one model, on one set of images, under one config."""
    sections = {key: value for key, value in config.model_dump(mode="json").items() if key not in UNRELATED}
    digest = hashlib.sha256(hashlib.sha256(model).digest())
    digest.update(json.dumps(sections, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def begin_state(path: Path, key: str) -> None:
    """Writes the file anew, without answers."""
    _write(path, {"key": key}, "w")


def add_answer(path: Path, answer: Answer) -> None:
    _write(path, asdict(answer), "a")


def read_state(path: Path, key: str) -> dict[str, Answer]:
    """The answers by the values they are about. Raises DataError where the file is about another search."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        raise DataError("nothing to resume", where=str(path), fix="leave out --resume") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the measurements: {error}", where=str(path), fix="leave out --resume") from error
    records = [_record(line) for line in lines if line.endswith("\n")]  # the last may have been cut off
    if not records or records[0].get("key") != key:
        what = "these measurements are of another model, config or calibration data"
        raise DataError(what, where=str(path), fix="leave out --resume to measure again")
    answers = [Answer(line["value"], tuple(line["maps"]), tuple(line["weights"])) for line in records[1:]]
    return {answer.value: answer for answer in answers}


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        record = None
    return record if isinstance(record, dict) else {}


def _write(path: Path, record: Mapping[str, Any], mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        fix = "check the folder's permissions and the free space, or give another file with -o"
        raise BuildError(f"cannot write the measurements: {error}", where=str(path), fix=fix) from error
