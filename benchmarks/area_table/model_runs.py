"""The synthesis runs behind the area model: elements that it is fitted to, and others that tell its error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.area_table.designs import TARGETS
from benchmarks.area_table.synthesis import synthesize_element
from benchmarks.records import write_records
from bfpc.backend.area import RUNS, Run
from bfpc.backend.devices import Target
from bfpc.backend.processing_element import ProcessingElement

FILE = Path(__file__).parents[2] / "bfpc" / "backend" / RUNS

# Lanes, block, mantissa bits of activations and of weights, bits of the accumulator, octaves of the exponent windows.
FITTED = (
    (16, 16, 3, 3, 32, 7),
    (16, 16, 5, 4, 32, 7),
    (16, 16, 8, 8, 40, 7),
    (16, 16, 12, 12, 48, 7),
    (32, 32, 4, 4, 32, 7),
    (32, 32, 7, 7, 40, 7),
    (32, 8, 5, 5, 32, 7),
    (32, 8, 10, 8, 48, 7),
    (64, 16, 5, 4, 32, 7),
    (64, 16, 6, 6, 40, 7),
    (64, 16, 9, 9, 48, 7),
    (64, 64, 8, 7, 40, 7),
    (128, 32, 4, 3, 32, 7),
    (8, 4, 6, 2, 32, 7),
    (16, 16, 5, 4, 32, 31),
    (32, 16, 4, 3, 32, 31),
    (64, 16, 8, 8, 40, 31),
    (64, 32, 6, 5, 48, 31),
    (128, 16, 5, 4, 32, 31),
    (32, 8, 4, 4, 32, 31),
)
HELD_OUT = (
    (16, 16, 4, 4, 32, 7),
    (16, 8, 7, 6, 40, 7),
    (32, 16, 5, 4, 32, 7),
    (32, 32, 6, 5, 32, 7),
    (32, 16, 8, 8, 40, 7),
    (64, 16, 8, 8, 48, 7),
    (64, 32, 5, 5, 32, 7),
    (64, 64, 3, 3, 32, 7),
    (128, 16, 6, 4, 40, 7),
    (32, 16, 12, 11, 48, 7),
    (32, 16, 5, 4, 32, 31),
    (64, 16, 6, 6, 40, 31),
    (32, 32, 9, 8, 40, 31),
    (128, 16, 4, 4, 32, 31),
    (64, 32, 5, 3, 40, 31),
    # Drawn after the parts of the model were chosen.
    (128, 32, 5, 4, 32, 31),
    (64, 16, 7, 5, 40, 31),
    (32, 16, 6, 6, 32, 15),
    (16, 16, 9, 5, 40, 31),
    (256, 16, 5, 4, 32, 31),
)


def element_of(
    lanes: int, block: int, activation_bits: int, weight_bits: int, bits: int, octaves: int
) -> ProcessingElement:
    return ProcessingElement(lanes, block, activation_bits, weight_bits, octaves, octaves, exact_bits=bits)


def all_runs() -> Iterator[tuple[Target, ProcessingElement, bool, bool]]:
    """Target, element, whether its products go into DSPs, and whether the model is fitted to it."""
    for target in TARGETS:
        for in_dsps in (False, True):
            for sizes, fitted in ((FITTED, True), (HELD_OUT, False)):
                yield from ((target, element_of(*size), in_dsps, fitted) for size in sizes)


def measure_runs(known: Iterable[Run]) -> Iterator[Run]:
    """known: of a synthesis before. Where the synthesizer keeps narrow products out of DSPs there is no run."""
    logic = {(run.target, run.element, run.in_dsps): run.logic for run in known}
    for target, element, in_dsps, fitted in all_runs():
        found = logic.get((target, element, in_dsps)) or _synthesize(target, element, in_dsps=in_dsps)
        if found:
            yield Run(target, element, in_dsps, found, fitted)


def _synthesize(target: Target, element: ProcessingElement, *, in_dsps: bool) -> int | None:
    if not in_dsps:
        return synthesize_element(element, target).luts
    counts = synthesize_element(replace(element, multiplier="operator"), target, dsps=True)
    return counts.luts if counts.dsps else None


def save_runs(runs: list[Run], path: Path = FILE) -> None:
    write_records(path, map(asdict, runs))
