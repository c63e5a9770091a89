"""Provokes errors as a user does, and writes them down: what was done, what is said, and which function says it."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import bfpc
from bfpc.cli import main
from bfpc.errors import SCREEN_COLUMNS, BfpcError
from tests.conftest import Golden
from tests.networks.onnx_writer import OnnxWriter, Tensor

SCREEN_LINES = 24
SOURCES = Path(bfpc.__file__).parents[1]
# What other libraries say, and the newest opset, change with their versions.
QUOTED = re.compile(
    r"((?:not valid YAML|not valid ONNX|contradict each other|cannot be read|cannot read the config|not a text file"
    r"|not a readable picture|not a readable array file|not a build folder|cannot write the \w+|cannot write its files"
    r"|not that of a build|cannot be put in place|cannot read the model|constants of the model cannot be computed"
    r"|does not fit its type and shape \[[^]]*\]|does not compile|the C simulation failed|onnxruntime fails"
    r"|onnxruntime cannot run [^:\n]*|not a readable checkpoint|folder of checkpoints|no cluster at \S+"
    r"|opset \d+ to \d+|not readable as JSON|files of the build contradict each other"
    r"|cannot write what the processes work on|the build is damaged: \w+(?:\.\w+)+|cannot look into the folder"
    r"|neither a file nor a folder that can be read|too large for one ONNX file|cannot read the measurements): )[^\n]*"
)
NEWEST_OPSET = re.compile(r"(?<=opset from 7 to )\d+")
TEMPORARY = re.compile(r"/\S*/(?:bfpc-[\w-]+|pytest-\d+/(?:popen-gw\d+/)?\w+)")

Prepare = Callable[[], object]


@dataclass(frozen=True)
class Situation:
    """name: what is wrong. does: the arguments of `bfpc`, or Python code as text. prepare: makes what is wrong.

    call: runs the code; None for arguments. code: the exit code. patch: changes the program's surroundings. leaves: the
    one file that stays, for a later command.
    """

    name: str
    does: str
    prepare: Prepare = lambda: None
    call: Callable[[], object] | None = None
    code: int = 2
    patch: Callable[[pytest.MonkeyPatch], object] = lambda _: None
    leaves: str = ""


def write(name: str, content: str | bytes) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


def save_network(build: Callable[[OnnxWriter, Tensor], Tensor], *shape: int) -> None:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(*shape)
    onnx.save(net.finish("network", [build(net, x)]), "net.onnx")


def small_conv(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Conv", [x.name, net.normal(4, x.shape[1], 1, 1)], (1, 4, *x.shape[2:]))


def save_arrays(name: str = "data.npz", **arrays: object) -> None:
    np.savez(name, allow_pickle=True, **arrays)  # type: ignore[arg-type]


def small_network() -> None:
    save_network(small_conv, 1, 3, 8, 8)


@dataclass(frozen=True)
class Place:
    """What an error said, and the file and the function that made it."""

    what: str
    text: str
    place: str


def record(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """The errors that will be made."""
    places: list[Place] = []
    original = BfpcError.__init__

    def make(error: BfpcError, what: str, *, where: str, fix: str) -> None:
        original(error, what, where=where, fix=fix)
        code = sys._getframe(1).f_code
        if "errors.py" not in code.co_filename:  # where one comes from another process
            file = Path(code.co_filename).relative_to(SOURCES).as_posix()
            places.append(Place(error.what, str(error), f"{file}, {code.co_qualname}"))

    monkeypatch.setattr(BfpcError, "__init__", make)
    return places


def provoke(situation: Situation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of a situation, made in an empty folder; nothing else may come of it."""
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        small_network()
        situation.prepare()
        raised, before = record(patch), _times()
        situation.patch(patch)
        said = _said(situation)
        changed = {path.name for path, _ in _times().items() ^ before.items()} - {situation.leaves}
        assert not changed or not situation.code, f"{situation.name}: {changed} changed"
    errors = [each.text for each in raised if each.text in said]
    assert errors, f"{situation.name}: {said}"
    _check_form(situation.name, max(errors, key=len), said)
    message = NEWEST_OPSET.sub("...", QUOTED.sub(r"\1...", said.replace(str(folder), ".")))
    message = TEMPORARY.sub("...", message)
    prompt = "$ bfpc" if situation.call is None else ">>>"
    places = "; ".join(dict.fromkeys(each.place for each in raised if each.what in said))
    return f"# {situation.name}\n{prompt} {situation.does}\n{message}({places})\n"


def _said(situation: Situation) -> str:
    """What a user reads."""
    if situation.call is None:
        result = CliRunner().invoke(main, situation.does.split())
        if result.exit_code != situation.code or "Traceback" in result.output:
            assert result.exc_info is not None
            raise AssertionError(
                f"{situation.name}: {result.output}{''.join(traceback.format_exception(*result.exc_info))}"
            )
        assert result.stdout == "" or not situation.code, situation.name
        return result.stderr
    with pytest.raises(BfpcError) as caught:
        situation.call()
    return f"{type(caught.value).__name__}: {caught.value}\n"


def _check_form(name: str, error: str, said: str) -> None:
    """An error says what, where and what to do, on one screen, in characters that a terminal only shows."""
    parts = re.fullmatch(r"(?s)(?P<what>.+)\n  where: (?P<where>.+)\n  fix: (?P<fix>.+)", error)
    assert parts, f"{name}: {error}"
    assert all(part.strip() for part in parts.groups()), f"{name}: {error}"
    rows = sum(max(1, -(-len(line) // SCREEN_COLUMNS)) for line in said.splitlines())
    assert rows <= SCREEN_LINES, f"{name} takes {rows} lines"
    assert all(line.isprintable() for line in said.splitlines()), name


def _times() -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}


def check_table(
    table: Sequence[Situation], name: str, golden: Golden, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [provoke(situation, folder / str(index), monkeypatch) for index, situation in enumerate(table)]
    golden(f"errors/{name}.txt", "\n".join(messages))
