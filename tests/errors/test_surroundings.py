"""What a command lacks around it: space, memory, a compiler, an extra, a cluster."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from click.testing import CliRunner

from bfpc.cli import main
from bfpc.jobs import open_engine
from tests.conftest import Golden
from tests.errors.provoke import Situation, check_table, small_network, write

Patch = Callable[[pytest.MonkeyPatch], object]
MEASURED = "chosen.sensitivity.jsonl"
SEARCH = "precision: auto\nbudget: {at_least: 10}\nsearch: {activation_bits: [8], weight_bits: [4, 8], checks: 0}\n"


def full_disk(*writers: str) -> Patch:
    """Nothing can be written any more with these methods of Path."""

    def fail(path: Path, *_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for writer in writers or ("write_bytes", "write_text"):
            monkeypatch.setattr(Path, writer, fail)

    return patch


def no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there can be written anew, but nothing can be added to it."""
    original = Path.open

    def open_file(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_file)


def without(module: str, *importers: str) -> Patch:
    """A module that is not installed, and those that would have to be imported again."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.startswith(importers)] if importers else []:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)

    return patch


def out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("bfpc.pipeline.compile_model", fail)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small_network()
        assert CliRunner().invoke(main, ["compile", "net.onnx"]).exit_code == 0
    return folder / "build"


def images() -> None:
    np.save("data.npy", np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))


def end_process(_: None) -> Callable[[int], None]:
    return lambda item: os.kill(os.getpid(), signal.SIGKILL)


def in_processes() -> None:
    with open_engine(processes=2) as engine:
        list(engine.map(end_process, None, [1]))


def test_surroundings(build: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built() -> None:
        images()
        Path("build").symlink_to(build)

    def searched() -> None:
        images()
        write("config.yaml", SEARCH)

    def no_output(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)

    verify = "verify build --inputs data.npy --csim"
    search = "search net.onnx -c ./config.yaml --processes 1"
    full = full_disk()
    table = [
        Situation("a full disk for a build", "compile net.onnx", patch=full),
        Situation("a full disk for a dump", "compile net.onnx --dump-ir dump", patch=full),
        Situation("a full disk for outputs", "run build --input data.npy", built, patch=full),
        Situation("a full disk for an export", "export build", built, patch=full),
        Situation("a full disk for the C simulation", verify, built, patch=full),
        Situation("a full disk for a search", search, searched, patch=full),
        Situation("a full disk for more measurements", search, searched, patch=no_more, leaves=MEASURED),
        Situation(
            "a full disk for processes", "open_engine(processes=2)", call=in_processes, patch=full_disk("write_bytes")
        ),
        Situation("a worker process that was ended", "open_engine(processes=2)", call=in_processes),
        Situation("a folder that cannot be written", "export build", built, patch=no_output),
        Situation("a name that is too long", f"compile net.onnx -o {'a' * 300}"),
        Situation("too little memory", "compile net.onnx", patch=out_of_memory),
        Situation("no make", verify, built, patch=lambda patch: patch.setenv("PATH", "")),
        Situation("no C++ compiler", verify, built, patch=lambda patch: patch.setenv("CXX", "no-such-compiler")),
        Situation("a C++ compiler that fails", verify, built, patch=lambda patch: patch.setenv("CXX", "false")),
        Situation("a config that exists", "init net.onnx -o config.yaml", searched),
        Situation("a config in the model's place", "init net.onnx -o net.onnx --force"),
        Situation(
            "a config in the place of what it extends", "init net.onnx -c config.yaml -o config.yaml --force", searched
        ),
        Situation("a file of a build", "export build -o build/model.onnx", built),
        Situation("no PyTorch", "retrain net.onnx --data data.npy", images, patch=without("torch", "bfpc.training")),
        Situation(
            "no Dask", "search net.onnx -c ./config.yaml --scheduler tcp://x", searched, patch=without("distributed")
        ),
        Situation("no cluster", "search net.onnx -c ./config.yaml --scheduler nonsense://x", searched),
        Situation("no Altair for a search", search, searched, patch=without("altair"), code=0),
        Situation(
            "no Altair for an exploration",
            "explore net.onnx --device zu9 --processes 1",
            patch=without("altair"),
            code=0,
        ),
    ]
    check_table(table, "surroundings", golden, tmp_path, monkeypatch)
