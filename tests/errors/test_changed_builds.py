"""A build in which any file was changed, removed or moved elsewhere is refused by every command that reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import bfpc
from bfpc.cli import main
from bfpc.config import Config
from bfpc.errors import BuildError
from bfpc.pipeline import compile_model
from tests.fuzz.models import sound_model

COMMANDS = (
    *("verify build --csim", "run build --input data.npy", "export build"),
    *("inspect build", "inspect build --partition"),
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    onnx.save(sound_model(), folder / "net.onnx")
    compile_model(folder / "net.onnx", Config.model_validate({"calibration": {"images": 1}}), folder / "build")
    np.save(folder / "data.npy", np.zeros((1, 3, 8, 8), np.float32))
    return folder


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link_elsewhere(path: Path) -> None:
    """The same content, but not of the folder."""
    elsewhere = path.parents[len(path.parts) - path.parts.index("build") - 1] / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


CHANGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": truncate,
    "removed": Path.unlink,
    "linked": link_elsewhere,
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_file_counts_for_every_command(
    change: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for file in _files(workplace / "build"):
        CHANGES[change](Path("build") / file)
        for command in COMMANDS:
            result = CliRunner().invoke(main, command.split())
            assert (result.exit_code, result.stdout) == (2, ""), (file, command, result.output)
            assert file.as_posix() in result.stderr or file.name == "manifest.json", (file, command)
        with pytest.raises(BuildError):
            bfpc.load("build")
        shutil.rmtree("build")
        shutil.copytree(workplace / "build", "build")


def test_files_beside_those_of_the_build_do_not_matter(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports and what make left; neither a Makefile that make prefers nor a program in its place is run."""
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("build/report.html").write_text("seen")
    Path("build/hls/GNUmakefile").write_text("build:\n\ttouch ../../executed\n")
    for program in ("csim", "src/cstdint"):
        Path("build/hls", program).write_text("#!/bin/sh\ntouch executed\n")
        Path("build/hls", program).chmod(0o755)
    assert CliRunner().invoke(main, ["inspect", "build"]).exit_code == 0
    result = CliRunner().invoke(main, ["verify", "build", "--count", "1", "--csim"])
    assert result.exit_code == 0, result.output
    assert not list(tmp_path.rglob("executed"))


def _files(build: Path) -> Iterator[Path]:
    files = sorted(path.relative_to(build) for path in build.rglob("*") if path.is_file())
    assert len(files) > 20
    yield from files
