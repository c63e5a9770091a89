"""What was measured in a file, as it comes, so that a search that was interrupted goes on from there.

JSON lines: the first holds the key of what is measured, each other one a question about sensitivities and its answer,
or a check and its outcome. A search that asks for other formats finds what it asks for again, and measures the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc import __version__
from bfpc.config import Config
from bfpc.errors import BuildError, DataError
from bfpc.output_file import write_file
from bfpc.search.checker import Outcome
from bfpc.search.sensitivity import Answer, Question

RELATED = ("passes", "preprocessing", "calibration")  # sections of the config that change sensitivities


@dataclass(frozen=True)
class State:
    """What was measured, by question, and what checks found. path: the file that keeps it; None keeps nothing."""

    path: Path | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def find(self, question: Question) -> Answer | None:
        return self.answers.get(_digest(repr(question)))

    def add(self, question: Question, answer: Answer) -> None:
        """Raises BuildError where the file cannot be written."""
        digest = _digest(repr(question))
        self.answers[digest] = answer
        self._keep({"value": question.value, "question": digest, **vars(answer)})

    def find_outcome(self, check: str) -> Outcome | None:
        """check: all that its outcome depends on, as text."""
        return self.outcomes.get(_digest(check))

    def add_outcome(self, check: str, outcome: Outcome) -> None:
        """Raises BuildError where the file cannot be written."""
        digest = _digest(check)
        self.outcomes[digest] = outcome
        self._keep({"check": digest, **vars(outcome)})

    def _keep(self, record: Mapping[str, Any]) -> None:
        if self.path is not None:
            _append(self.path, record)


def state_key(model: bytes, config: Config, arrays: Mapping[str, NDArray[Any]]) -> str:
    """The same for searches that measure the same: one model, one set of images, the same passes and release."""
    sections = {key: value for key, value in config.model_dump(mode="json").items() if key in RELATED}
    digest = hashlib.sha256(hashlib.sha256(model).digest())
    digest.update(json.dumps([sections, __version__], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def begin_state(path: Path, key: str) -> State:
    """A new file without answers. Raises BuildError where it cannot be written."""
    write_file(path, f"{json.dumps({'key': key})}\n".encode())
    return State(path)


def resume_state(path: Path, key: str) -> State:
    """The answers in a file, which keeps the next ones, too. Raises DataError where it is about something else."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise DataError("nothing to resume", where=str(path), fix="leave out --resume") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the measurements: {error}", where=str(path), fix="leave out --resume") from error
    head, *records = map(_record, text.split("\n"))
    if head.get("key") != key:
        what = "these measurements are of another model, of other calibration data, or after other passes"
        raise DataError(what, where=str(path), fix="leave out --resume to measure again")
    if not text.endswith("\n"):  # ended while it was written
        _append(path, None)
    found = State(path)
    for line in records:
        if "question" in line:
            found.answers[line["question"]] = Answer(tuple(line["maps"]), tuple(line["weights"]))
        elif "check" in line:
            noises = tuple(line["noises"])
            found.outcomes[line["check"]] = Outcome(line["accuracy"], noises, line["cost"], line["layers"])
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _record(line: str) -> dict[str, Any]:
    """A line of the file; nothing where it was cut off."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        record = None
    return record if isinstance(record, dict) else {}


def _append(path: Path, record: Mapping[str, Any] | None) -> None:
    try:
        with path.open("a") as file:
            file.write(("" if record is None else json.dumps(record)) + "\n")
    except OSError as error:
        fix = "check the folder's permissions and the free space, or give another file with -o"
        raise BuildError(f"cannot write the measurements: {error}", where=str(path), fix=fix) from error
