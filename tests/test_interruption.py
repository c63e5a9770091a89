"""Ctrl-C, SIGTERM, SIGHUP: whenever one comes, builds and files are whole or as they were, and nothing else is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from bfpc.backend.build_folder import read_build
from bfpc.cli import main
from bfpc.interruption import interruption_later
from bfpc.output_file import write_file
from bfpc.report.page import render_report
from tests.networks.onnx_writer import OnnxWriter

INTERRUPTED = 130


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """As in a terminal: whoever runs the tests in the background may ignore some."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and a build of it."""
    folder = tmp_path_factory.mktemp("before")
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 3, 8, 8)
    onnx.save(
        net.finish("network", [net.node("Conv", [x.name, net.normal(4, 3, 1, 1)], (1, 4, 8, 8))]), folder / "net.onnx"
    )
    result = CliRunner().invoke(main, ["compile", str(folder / "net.onnx"), "-o", str(folder / "build")])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(before: Path, tmp_path: Path) -> Path:
    return shutil.copytree(before, tmp_path / "work")


def compile_again(folder: Path) -> int:
    """With other formats, so that another build would come of it."""
    arguments = ["compile", str(folder / "net.onnx"), "-c", "int4", "-o", str(folder / "build")]
    return CliRunner().invoke(main, arguments).exit_code


def interrupted_at(
    call: int, function: Callable[..., object], number: signal.Signals = signal.SIGINT
) -> Callable[..., object]:
    """The function, in the middle of whose `call`-th call a signal comes; Ctrl-C where it is no other."""
    calls = count()

    def interrupted(*arguments: object, **options: object) -> object:
        if next(calls) == call:
            signal.raise_signal(number)
        return function(*arguments, **options)

    return interrupted


@pytest.mark.parametrize("call", [0, 1, 20])
def test_while_the_files_are_written_the_former_build_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    expected = contents(folder)
    monkeypatch.setattr(Path, "write_bytes", interrupted_at(call, Path.write_bytes))
    assert compile_again(folder) == INTERRUPTED
    assert contents(folder) == expected


@pytest.mark.parametrize("call", [0, 1])
def test_while_folders_change_places_the_new_build_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    former = contents(folder)
    monkeypatch.setattr(Path, "rename", interrupted_at(call, Path.rename))
    assert compile_again(folder) == INTERRUPTED
    assert sorted(path.name for path in folder.iterdir()) == ["build", "net.onnx"]
    assert contents(folder) != former
    assert read_build(folder / "build").config.formats.weight.mantissa_bits == 4


def test_while_its_report_is_made_the_former_build_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(folder)
    monkeypatch.setattr("bfpc.report.page.render_report", interrupted_at(0, render_report))
    assert compile_again(folder) == INTERRUPTED
    assert contents(folder) == expected


def test_a_second_one_does_not_stop_the_cleaning_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(folder)
    monkeypatch.setattr(Path, "write_bytes", interrupted_at(3, Path.write_bytes))
    monkeypatch.setattr(shutil, "rmtree", interrupted_at(0, shutil.rmtree))
    assert compile_again(folder) == INTERRUPTED
    assert contents(folder) == expected


def test_a_build_that_cannot_take_its_place_leaves_the_former_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, rename = contents(folder), Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert compile_again(folder) == 2
    assert contents(folder) == expected


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_file(path, b"former")
    monkeypatch.setattr(Path, "write_bytes", interrupted_at(0, Path.write_bytes))
    with pytest.raises(KeyboardInterrupt):
        write_file(path, b"new")
    assert contents(tmp_path) == {"file": b"former"}


def test_it_comes_at_the_end_of_what_must_not_be_interrupted() -> None:
    steps = []

    def work() -> None:
        with interruption_later():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["done"]


def test_what_ignores_the_end_of_its_terminal_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        monkeypatch.setattr(Path, "write_bytes", interrupted_at(2, Path.write_bytes, signal.SIGHUP))
        assert compile_again(folder) == 0
    finally:
        signal.signal(signal.SIGHUP, former)


def test_outside_of_a_command_signals_mean_what_they_did(folder: Path) -> None:
    former = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert compile_again(folder) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == former


def test_threads_are_never_interrupted() -> None:
    steps = []

    def work() -> None:
        with interruption_later():
            steps.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == ["done"]


STEP_BY_STEP = """
import sys
from pathlib import Path

from bfpc.cli import main

write = Path.write_bytes

def step(path, content):
    written = write(path, content)
    print(path, flush=True)
    sys.stdin.readline()
    return written

Path.write_bytes = step
main(prog_name="bfpc")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended(folder: Path, number: signal.Signals) -> None:
    expected = contents(folder)
    command = [sys.executable, "-c", STEP_BY_STEP, "compile", "net.onnx", "-c", "int4"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, text=True, bufsize=1, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(2):  # files of the build
        assert ".partial/" in process.stdout.readline()
        process.stdin.write("\n")
    assert ".partial/" in process.stdout.readline()
    assert [path for path in folder.iterdir() if path.name.endswith(".partial")]
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.endswith("interrupted\n")
    assert contents(folder) == expected
