"""The units, each a part of the accelerator behind plain ports, pass their own testbenches, and faults do not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bfpc.backend.architecture import Architecture
from tests.backend.graphs import ARCHITECTURE, WIDEST
from tests.backend.hls_project import write_project
from tests.backend.integer_headers import with_ac_int, with_ap_int
from tests.backend.test_hls_csim import AC_INT, AP_INT, CHECKED, CLANG, DIGITS, GCC, NATIVE, PACKED, QUICK

UNITS = ("dot_product", "layer_tail")
BAMBU = f"{QUICK} -Wno-unknown-pragmas -DBFPC_BAMBU"

# A fault in a function of the accelerator, and the unit that finds it.
FAULTS = {
    "rounding": ("quantization", "+ ((value >> right) & 1)", ""),
    "residual": ("layer_tail", "value - residual", "residual - value"),
    "slope": ("layer_tail", "value >= 0 ? 1 << SLOPE_SHIFT", "value >= 0 ? SLOPE_SHIFT"),
    "table": ("layer_tail", "place < 0 ? 0", "place < 0 ? 1"),
    "maximum": ("layer_tail", "pooled[k] > values[k] ? pooled", "pooled[k] < values[k] ? pooled"),
    "average": ("layer_tail", "+ count / 2", ""),
    "shared exponent": ("quantization", "(block ^ other) < parts", "block == other"),
    "saturation": ("quantization", "magnitude_end - 1)", "magnitude_end)"),
    "weight's exponent": ("dot_product_array", "offset + weight_offsets[k]", "offset"),
    "lane": (
        "dot_product_array",
        "multiply(features[lane], weights[lane][m])",
        "multiply(features[lane], weights[0][m])",
    ),
    "borrow": ("products", "field + borrowed + half", "field + half"),
    "digit": ("digits", "WIDTH * index", "0"),
    "top digit": ("digits", "index == count - 1", "false"),
}


def run_units(folder: Path, cxx: str, flags: str, integers: str) -> subprocess.CompletedProcess[str]:
    options = [f"CXX={cxx}", f"CXXFLAGS={flags}", *([integers] if integers else [])]
    return subprocess.run(["make", "units", *options], cwd=folder, capture_output=True, text=True, check=False)


def assert_pass(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "dot product: 24 cases, 0 differences" in ran.stdout
    assert "layer tail: 20 cases, 0 differences" in ran.stdout


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(ARCHITECTURE, id="small"),
        pytest.param(WIDEST, id="wide"),
        pytest.param(replace(WIDEST, accumulator_bits=32), id="narrow-accumulator"),
        pytest.param(DIGITS, id="digits"),
        pytest.param(PACKED, id="packed"),
    ],
)
def test_the_testbenches_pass(architecture: Architecture, tmp_path: Path) -> None:
    assert_pass(run_units(write_project(architecture, tmp_path), GCC, CHECKED, NATIVE))


@pytest.mark.parametrize(
    ("cxx", "flags", "integers"),
    [
        pytest.param(CLANG, QUICK, NATIVE, id="clang"),
        pytest.param(GCC, BAMBU, NATIVE, id="bambu"),
        pytest.param(CLANG, BAMBU, AP_INT, id="clang-bambu-ap_int", marks=with_ap_int),
        pytest.param(GCC, QUICK, AC_INT, id="ac_int", marks=with_ac_int),
    ],
)
def test_compilers_integers_and_dialects_agree(cxx: str, flags: str, integers: str, tmp_path: Path) -> None:
    assert_pass(run_units(write_project(DIGITS, tmp_path), cxx, flags, integers))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, tmp_path: Path) -> None:
    file, right, wrong = FAULTS[name]
    source = write_project(PACKED, tmp_path) / "src" / f"{file}.hpp"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    ran = run_units(tmp_path, GCC, "-O0", NATIVE)
    assert ran.returncode != 0
    assert "expected" in ran.stdout
