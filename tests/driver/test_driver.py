"""The generated host drivers against a simulated register file, behind which the generated C++ runs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bfpc
from bfpc.backend.registers import REGISTERS
from tests.backend.graphs import ARCHITECTURE
from tests.backend.hls_project import write_project
from tests.driver.simulated_board import SimulatedBoard, build_library
from tests.hls_lint.source import parameters_of, read_kernel
from tests.test_runtime import build_of, pictures, with_host_between

STUBS = Path(__file__).parent / "xrt"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_of(with_host_between("batch"), tmp_path_factory.mktemp("between"))


@pytest.fixture(scope="module")
def library(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(build / "hls", tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def xrt_host(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated program, compiled against the simulated card."""
    hls, host = build / "hls", tmp_path_factory.mktemp("xrt") / "xrt_host"
    sources = [str(hls / "driver" / "xrt_host.cpp"), str(hls / "src" / "bfpc_accelerator.cpp")]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    includes = [f"-I{STUBS}", f"-I{hls / 'src'}"]
    subprocess.run(["g++", "-std=c++17", "-O1", *warnings, *includes, "-o", str(host), *sources], check=True)
    return host


@pytest.fixture
def driver(build: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The generated module."""
    return load(build / "hls" / "driver" / "accelerator.py", monkeypatch)


def load(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def test_registers_follow_the_arguments_of_the_kernel_as_vitis_lays_them_out(tmp_path: Path) -> None:
    write_project(ARCHITECTURE, tmp_path)
    kernel = read_kernel(tmp_path / "src" / "bfpc_accelerator.cpp", "-DBFPC_PRAGMAS").functions["bfpc_accelerator"]
    arguments = [(each.spelling, 64 if "*" in each.type.spelling else 32) for each in parameters_of(kernel)]
    assert [(register.name, register.bits) for register in REGISTERS] == arguments
    assert [register.offset for register in REGISTERS] == [0x10, 0x1C, 0x28, 0x34, 0x40, 0x4C, 0x54]


def test_a_network_with_stages_runs_on_a_board_as_in_the_emulator(build: Path, library: Path, driver: Any) -> None:
    accelerator = driver.Accelerator(SimulatedBoard(library), build)
    images = {"input0": pictures(2)}
    expected, found = bfpc.load(build).run(images), bfpc.load(build, accelerator.run).run(images)
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


def test_an_accelerator_that_does_not_finish_is_named(build: Path, library: Path, driver: Any) -> None:
    board = SimulatedBoard(library)
    board.hangs = True
    with pytest.raises(TimeoutError, match=r"not finished after 0\.01 s"):
        driver.check(driver.Accelerator(board, build, timeout_s=0.01), build)


def test_the_program_of_another_accelerator_is_refused(build: Path, library: Path, driver: Any, tmp_path: Path) -> None:
    program = np.fromfile(build / "program.bin", "<i4")
    program[1] += 1
    program.tofile(tmp_path / "program.bin")
    with pytest.raises(ValueError, match="made for another accelerator"):
        driver.Accelerator(SimulatedBoard(library), tmp_path)


@pytest.mark.parametrize("agrees", [True, False])
def test_the_pynq_driver_checks_an_image(
    build: Path, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    copy = changed_copy(build, tmp_path, agrees)
    monkeypatch.setitem(sys.modules, "pynq", simulated_pynq(library))
    load(copy / "hls" / "driver" / "accelerator.py", monkeypatch)
    board = load(copy / "hls" / "driver" / "pynq_board.py", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["pynq_board.py", "bfpc_accelerator.bit", str(copy)])
    with pytest.raises(SystemExit) as ended:
        board.main()
    assert ended.value.code == (0 if agrees else 1)


def simulated_pynq(library: Path) -> Any:
    """What the driver uses of the module pynq."""
    board = SimulatedBoard(library)

    class Array(np.ndarray[Any, Any]):
        """An array with the methods of pynq's buffers."""

        buffer: Any

    def allocate(words: int, _: Any) -> Array:
        buffer = board.allocate(words)
        array = buffer.words.view(Array)
        array.device_address, array.flush, array.invalidate = buffer.address, buffer.flush, buffer.invalidate  # type: ignore[attr-defined]
        return array

    return SimpleNamespace(Overlay=lambda _: SimpleNamespace(bfpc_accelerator_0=board), allocate=allocate)


def changed_copy(build: Path, folder: Path, agrees: bool) -> Path:
    """A build whose expected words differ where they should not agree."""
    copy = shutil.copytree(build, folder / "build")
    expected = np.fromfile(copy / "hls" / "vectors" / "expected.bin", "<u8")
    expected[-1] ^= np.uint64(not agrees)
    expected.tofile(copy / "hls" / "vectors" / "expected.bin")
    return copy


@pytest.mark.parametrize("agrees", [True, False])
def test_the_xrt_driver_checks_an_image(build: Path, xrt_host: Path, tmp_path: Path, agrees: bool) -> None:
    copy = changed_copy(build, tmp_path, agrees)
    ran = subprocess.run([str(xrt_host), "any.xclbin", str(copy), "0"], capture_output=True, text=True, check=False)
    assert ran.returncode == (0 if agrees else 1), ran.stderr
    assert ("every bit agrees" if agrees else "differs") in ran.stdout


def test_the_xrt_driver_names_what_it_cannot_read(xrt_host: Path, tmp_path: Path) -> None:
    ran = subprocess.run([str(xrt_host), "any.xclbin", str(tmp_path), "0"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert f"cannot read {tmp_path}/program.bin" in ran.stderr


def test_the_generated_python_is_formatted_and_linted(build: Path) -> None:
    settings = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["check", "--ignore", "T201,INP001"], ["format", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, *settings, str(build / "hls" / "driver")]
        ran = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
