"""The synthesis runs behind the area model: elements that it is fitted to, and others that tell its error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.area_table.synthesis import synthesize_element
from benchmarks.records import write_records
from bfpc.backend.area import RUNS, Run
from bfpc.backend.processing_element import ProcessingElement

FILE = Path(__file__).parents[2] / "bfpc" / "backend" / RUNS

# Lanes, block, mantissa bits of activations and of weights, bits of the accumulator.
FITTED = (
    (16, 16, 3, 3, 32),
    (16, 16, 5, 4, 32),
    (16, 16, 8, 8, 40),
    (16, 16, 12, 12, 48),
    (32, 32, 4, 4, 32),
    (32, 32, 7, 7, 40),
    (32, 8, 5, 5, 32),
    (32, 8, 10, 8, 48),
    (64, 16, 5, 4, 32),
    (64, 16, 6, 6, 40),
    (64, 16, 9, 9, 48),
    (64, 64, 8, 7, 40),
    (128, 32, 4, 3, 32),
    (8, 4, 6, 2, 32),
)
HELD_OUT = (
    (16, 16, 4, 4, 32),
    (16, 8, 7, 6, 40),
    (32, 16, 5, 4, 32),
    (32, 32, 6, 5, 32),
    (32, 16, 8, 8, 40),
    (64, 16, 8, 8, 48),
    (64, 32, 5, 5, 32),
    (64, 64, 3, 3, 32),
    (128, 16, 6, 4, 40),
    (32, 16, 12, 11, 48),
)


def element_of(lanes: int, block: int, activation_bits: int, weight_bits: int, bits: int) -> ProcessingElement:
    return ProcessingElement(lanes, block, activation_bits, weight_bits, 7, 7, exact_bits=bits)


def all_elements() -> Iterator[tuple[ProcessingElement, bool]]:
    """Each with whether the model is fitted to it."""
    for sizes, fitted in ((FITTED, True), (HELD_OUT, False)):
        yield from ((element_of(*size), fitted) for size in sizes)


def measure_runs(known: dict[ProcessingElement, int]) -> Iterator[Run]:
    """known: LUTs of elements that were synthesized before."""
    for element, fitted in all_elements():
        luts = known[element] if element in known else synthesize_element(element, "xcup").luts
        yield Run(element, luts, fitted)


def save_runs(runs: list[Run], path: Path = FILE) -> None:
    write_records(path, map(asdict, runs))
