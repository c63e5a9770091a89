"""A disk that really is full: a file system of a few kilobytes where one can be mounted, and a limit on files."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bfpc.cli import main
from tests.errors.provoke import save_network, small_conv, write

BYTES = 16384
COMMANDS = {
    "compile": "compile net.onnx -o disk/build",
    "dump": "compile net.onnx -o build2 --dump-ir disk/ir/dump",
    "export": "export build -o disk/quantized.onnx",
    "run": "run build --input data.npy -o disk/outputs.npz",
    "retrain": "retrain net.onnx --data data.npy --epochs 1 -o disk/tuned.onnx",
    "checkpoints": "retrain net.onnx --data data.npy --epochs 1 --checkpoints disk/checkpoints",
    "search": "search net.onnx -c ./config.yaml --processes 1 -o disk/chosen.yaml",
}
SEARCH = "precision: auto\nbudget: {at_least: 10}\nsearch: {activation_bits: [8], weight_bits: [4, 8], checks: 0}\n"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of some kilobytes, its build, and data."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        save_network(lambda net, x: small_conv(net, small_conv(net, x)), 1, 16, 32, 32)
        np.save("data.npy", np.random.default_rng(0).normal(size=(4, 16, 32, 32)).astype(np.float32))
        write("config.yaml", SEARCH)
        assert CliRunner().invoke(main, ["compile", "net.onnx"]).exit_code == 0
    return folder


@pytest.fixture
def disk(workplace: Path) -> Iterator[Path]:
    """The folder `disk` there, which is full."""
    folder = workplace / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        shutil.rmtree(folder)
        pytest.skip("no file system can be mounted")
    try:
        (folder / "filler").write_bytes(bytes(BYTES))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_nothing_partial(
    command: str, workplace: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command in ("retrain", "checkpoints"):
        pytest.importorskip("torch")
    monkeypatch.chdir(workplace)
    (disk / "ir").mkdir()
    result = CliRunner().invoke(main, COMMANDS[command].split())
    assert result.exit_code == 2, result.output
    assert "cannot write" in result.stderr
    assert "fix:" in result.stderr
    left = sorted(path.name for path in disk.rglob("*") if path.is_file())
    assert left == ["filler"]
    shutil.rmtree(workplace / "build2", ignore_errors=True)


def test_a_former_build_survives_where_the_new_one_does_not_fit(workplace: Path, tmp_path: Path) -> None:
    """With a limit on the size of files, which needs no rights."""
    shutil.copytree(workplace, tmp_path / "work")
    before = {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    command = [sys.executable, "-B", "-m", "bfpc", "compile", "net.onnx", "-o", "build"]
    ran = subprocess.run(
        command,
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 2, ran.stderr
    assert "cannot write the build: [Errno 27] File too large" in ran.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()} == before
