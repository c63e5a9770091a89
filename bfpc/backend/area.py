"""How much logic the array takes: a fit to what a synthesizer made of processing elements.

An element's parts are counted in bits of their adders and multiplexers. What a bit of each part takes is fitted to the
runs of array_area.json, which `python -m benchmarks.area_table` makes with Yosys: six-input LUTs of UltraScale+, and
ALMs of Cyclone V, each with products in logic and in DSPs. Runs that are held out of the fit tell its error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bfpc.backend.architecture import Architecture
from bfpc.backend.devices import Target
from bfpc.backend.processing_element import ProcessingElement
from bfpc.numerics.format import MAX_EXPONENT_RANGE

RUNS = "array_area.json"
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """logic: the LUTs or ALMs that the synthesizer needed. in_dsps: whether it put the products into DSPs.

    fitted: whether the fit sees it; else it is held out.
    """

    target: Target
    element: ProcessingElement
    in_dsps: bool
    logic: int
    fitted: bool


@dataclass(frozen=True)
class Fit:
    """per_bit: LUTs or ALMs of a bit of each part, in their order. error: the largest of runs held out, relative."""

    per_bit: Numbers
    error: float

    @property
    def adder_bit(self) -> float:
        return float(self.per_bit[2])

    @property
    def multiplexer_bit(self) -> float:
        """Of a multiplexer of four inputs."""
        return float(self.per_bit[3])

    def logic(self, element: ProcessingElement, *, in_dsps: bool = False) -> float:
        """LUTs or ALMs of a processing element with an exact accumulator and multipliers of rows, or in DSPs."""
        return float(part_bits(element, in_dsps=in_dsps) @ self.per_bit)


def array_luts(architecture: Architecture) -> float:
    """LUTs of all processing elements of the array, their products among them."""
    return architecture.k_vec * fit("xcup").logic(array_element(architecture))


def array_element(architecture: Architecture) -> ProcessingElement:
    """The processing element that the array has k_vec of."""
    return ProcessingElement(
        architecture.c_vec,
        architecture.block,
        architecture.activation_operand_bits,
        architecture.weight_operand_bits,
        MAX_EXPONENT_RANGE,
        MAX_EXPONENT_RANGE,
        exact_bits=architecture.accumulator_bits,
    )


@cache
def fit(target: Target) -> Fit:
    """The fit to the runs that ship with the package."""
    return fit_runs([run for run in load_runs() if run.target == target])


def fit_runs(runs: Sequence[Run]) -> Fit:
    """Least squares of relative errors; no part takes less than nothing. runs: of one target."""
    fitted, held_out = ([run for run in runs if run.fitted is side] for side in (True, False))
    shares = np.array([part_bits(run.element, in_dsps=run.in_dsps) / run.logic for run in fitted])
    found = Fit(nnls(shares, np.ones(len(fitted)))[0], 0.0)
    errors = [abs(found.logic(run.element, in_dsps=run.in_dsps) / run.logic - 1) for run in held_out]
    return Fit(found.per_bit, max(errors))


@cache
def load_runs() -> tuple[Run, ...]:
    """Those that ship with the package."""
    records = json.loads((files("bfpc.backend") / RUNS).read_text())
    return tuple(Run(**{**record, "element": ProcessingElement(**record["element"])}) for record in records)


def part_bits(element: ProcessingElement, *, in_dsps: bool = False) -> Numbers:
    """Bits of what makes pairs of a product's rows, of what adds them up, of all other adders, and of multiplexers.

    A pair of rows is one carry chain that selects and adds. Multiplexers align the blocks.
    """
    row_bits, product_bits = element.activation_bits + 2, element.activation_bits + element.weight_bits
    pairs, single = divmod(element.weight_bits, 2)
    pair_bits = 0 if in_dsps else element.lanes * pairs * row_bits
    row_adder_bits = 0 if in_dsps else element.lanes * ((pairs + single - 1) * row_bits + single * (row_bits - 2))
    products = tree_bits(element.block, product_bits)
    blocks = tree_bits(element.blocks, element.aligned_bits, element.exact_bits)
    offsets = element.blocks * element.offset_bits  # of activations and weights, added
    sums = element.blocks * products + blocks + offsets + element.exact_bits
    alignment = element.blocks * shifter_bits(element.dot_bits, element.most_shift, element.aligned_bits)
    return np.array([pair_bits, row_adder_bits, sums, alignment], np.float64)


def tree_bits(leaves: int, bits: int, most: int | None = None) -> int:
    """Of the adders of a tree over so many numbers of so many bits; none is wider than `most`."""
    levels = range(1, leaves.bit_length())
    return sum((leaves >> level) * min(bits + level, most or bits + level) for level in levels)


def shifter_bits(bits: int, most_shift: int, result: int) -> int:
    """Of the multiplexers of four inputs that shift a number left: each stage takes two bits of the distance."""
    stages = -(-most_shift.bit_length() // 2)
    return sum(min(bits + min(4**stage - 1, most_shift), result) for stage in range(1, stages + 1))
