"""The examples run, on the small network that one of them writes; the notebook is its script."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import onnx
import pytest

from bfpc.backend.build_folder import read_build
from bfpc.config import load_config
from docs.notebook import notebook

EXAMPLES = Path(__file__).parents[1] / "examples"
Main = Callable[..., None]


def example(name: str) -> Main:
    """The function `main` of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Main = module.main
    return main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the small network, its pictures and their labels."""
    folder = tmp_path_factory.mktemp("examples")
    example("small_network")(folder)
    return folder


@pytest.fixture(autouse=True)
def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CXXFLAGS", "-O1")


MODEL, PICTURES, LABELS, BUILD = Path("model.onnx"), Path("pictures.npy"), Path("labels.npy"), Path("build")


@pytest.fixture(scope="module")
def compiled(folder: Path) -> str:
    """What the example that compiles prints; its build serves the others."""
    command = [sys.executable, str(EXAMPLES / "compile_and_verify.py"), "model.onnx", "pictures.npy"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_compile_and_verify(compiled: str) -> None:
    assert "the C++ gives the same bits\npassed" in compiled


@pytest.mark.usefixtures("compiled")
def test_run_a_build(capsys: pytest.CaptureFixture[str]) -> None:
    example("run_build")(BUILD, PICTURES)
    assert "takes image: tensor(float) [batch, 3, 16, 16]\nimage 0: class " in capsys.readouterr().out


@pytest.mark.usefixtures("compiled")
def test_export(capsys: pytest.CaptureFixture[str]) -> None:
    example("export_onnx")(BUILD, PICTURES)
    assert capsys.readouterr().out.endswith("\nthe same bits\n")
    onnx.checker.check_model("quantized.onnx")


@pytest.mark.usefixtures("compiled")
def test_read_a_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    example("read_schedule")(BUILD)
    assert "relu1: " in capsys.readouterr().out


@pytest.mark.usefixtures("compiled")
def test_compare_builds(capsys: pytest.CaptureFixture[str]) -> None:
    example("compare_builds")(BUILD, BUILD)
    assert capsys.readouterr().out == f"written: {BUILD}/report.html\n"


def test_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    example("evaluate_configs")(MODEL, PICTURES, LABELS)
    rows = capsys.readouterr().out.splitlines()
    assert [row.partition(":")[0] for row in rows] == ["float32", "int8", "int54", "int4"]
    assert "'top1': '100.0%'" in rows[0]


def test_search(capsys: pytest.CaptureFixture[str]) -> None:
    example("search_formats")(MODEL, PICTURES)
    decibels = float(capsys.readouterr().out.split(" dB")[0])
    assert decibels >= 30
    assert read_build(Path("build_of_chosen")).config.formats == load_config(Path("chosen.yaml")).formats


def test_retrain(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    example("retrain_network")(MODEL, PICTURES, LABELS)
    assert "epoch 2: loss " in capsys.readouterr().out
    assert read_build(Path("build_of_tuned"))


def test_explore(capsys: pytest.CaptureFixture[str]) -> None:
    example("explore_architecture")(MODEL, PICTURES)
    assert "smallest for 1000 images a second: " in capsys.readouterr().out
    assert load_config(Path("architecture.yaml")).architecture.c_vec in (4, 8, 16, 32, 64, 128, 256)


def test_prepare(capsys: pytest.CaptureFixture[str]) -> None:
    example("prepare")(MODEL)
    shown = capsys.readouterr().out
    assert "onnxruntime: " in shown
    assert "\nsections: extends, " in shown


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r'example\("(\w+)"\)', Path(__file__).read_text()))
    others = {"compile_and_verify", "quick_start", "unpack_demo"}  # as a process, as a notebook, by make demo
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested | others


# -- the notebook -----------------------------------------------------------------------------------------------------


def test_the_notebook_is_its_script() -> None:
    assert (EXAMPLES / "quick_start.ipynb").read_text() == notebook((EXAMPLES / "quick_start.py").read_text())


def test_the_notebook_runs(folder: Path) -> None:
    cells = nbformat.read(EXAMPLES / "quick_start.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    nbclient.NotebookClient(cells, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    last = cells.cells[-1].outputs[-1]
    assert last["data"]["text/plain"].startswith("array([")
