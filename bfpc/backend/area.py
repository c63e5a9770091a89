"""How much logic the array takes: a fit to what a synthesizer made of processing elements.

An element's parts are counted in bits of their adders and multiplexers. What a bit of each part takes is fitted to the
runs of array_area.json, which `python -m benchmarks.area_table` makes: Yosys for UltraScale+, six-input LUTs, without
DSPs. Runs that are held out of the fit tell its error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bfpc.backend.architecture import Architecture
from bfpc.backend.processing_element import ProcessingElement
from bfpc.numerics.format import MAX_EXPONENT_RANGE

RUNS = "array_area.json"
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """luts: what the synthesizer needed. fitted: whether the fit sees it; else it is held out."""

    element: ProcessingElement
    luts: int
    fitted: bool


@dataclass(frozen=True)
class Fit:
    """luts_per_bit: of each part, in their order. error: the largest on the runs held out, relative."""

    luts_per_bit: Numbers
    error: float


def array_luts(architecture: Architecture) -> float:
    """LUTs of all processing elements of the array."""
    element = ProcessingElement(
        architecture.c_vec,
        architecture.block,
        architecture.activation_operand_bits,
        architecture.weight_operand_bits,
        MAX_EXPONENT_RANGE,
        MAX_EXPONENT_RANGE,
        exact_bits=architecture.accumulator_bits,
    )
    return architecture.k_vec * element_luts(element)


def element_luts(element: ProcessingElement) -> float:
    """LUTs of a processing element with an exact accumulator and multipliers of rows."""
    return float(part_bits(element) @ fit().luts_per_bit)


@cache
def fit() -> Fit:
    """The fit to the runs that ship with the package."""
    return fit_runs(load_runs())


def fit_runs(runs: tuple[Run, ...]) -> Fit:
    """Least squares of relative errors; no part takes less than nothing."""
    fitted, held_out = ([run for run in runs if run.fitted is side] for side in (True, False))
    shares = np.array([part_bits(run.element) / run.luts for run in fitted])
    luts_per_bit = nnls(shares, np.ones(len(fitted)))[0]
    errors = [abs(part_bits(run.element) @ luts_per_bit / run.luts - 1) for run in held_out]
    return Fit(luts_per_bit, max(map(float, errors)))


def load_runs() -> tuple[Run, ...]:
    """Those that ship with the package."""
    records = json.loads((files("bfpc.backend") / RUNS).read_text())
    return tuple(Run(ProcessingElement(**each["element"]), each["luts"], each["fitted"]) for each in records)


def part_bits(element: ProcessingElement) -> Numbers:
    """Bits of a product's rows, of the adders behind them, and of the multiplexers that align."""
    chains = (element.weight_bits + 1) // 2  # each of two rows of a product; then they are added up
    rows = element.lanes * (2 * chains - 1) * (element.activation_bits + 2)
    product_bits = element.activation_bits + element.weight_bits
    multiplexers = -(-element.most_shift.bit_length() // 2)  # of four inputs each, two bits of the shift
    alignment = element.blocks * element.aligned_bits * multiplexers
    products, blocks = _tree_bits(element.block, product_bits), _tree_bits(element.blocks, element.aligned_bits)
    sums = element.blocks * products + blocks + element.exact_bits
    return np.array([rows, sums, alignment], np.float64)


def _tree_bits(leaves: int, bits: int) -> int:
    """Of a tree of adders over so many numbers."""
    levels = leaves.bit_length()
    return sum((leaves >> level) * (bits + level) for level in range(1, levels))
