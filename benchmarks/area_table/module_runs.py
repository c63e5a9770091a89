"""The synthesis runs behind tail lanes and unpackers: some that a factor is fitted to, others that tell its error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.area_table.designs import TARGETS
from benchmarks.area_table.synthesis import synthesize_rtl
from benchmarks.records import write_records
from bfpc.backend.devices import Target
from bfpc.backend.logic import TailLane, Unpacker
from bfpc.backend.module_area import RUNS, TOPS, Module, ModuleRun, render_module

FILE = Path(__file__).parents[2] / "bfpc" / "backend" / RUNS

FITTED: tuple[Module, ...] = (
    TailLane(32, 64, 6),
    TailLane(32, 48, 6),
    Unpacker(16, 16, 5),
    Unpacker(32, 16, 9),
)
HELD_OUT: tuple[Module, ...] = (
    TailLane(40, 64, 9),
    TailLane(32, 40, 6),
    TailLane(48, 64, 13),
    Unpacker(16, 16, 9),
    Unpacker(64, 16, 4),
)


def measure_module_runs(known: Iterable[ModuleRun]) -> Iterator[ModuleRun]:
    """known: of a synthesis before."""
    found = {(run.target, run.module): run for run in known}
    for target in TARGETS:
        for modules, fitted in ((FITTED, True), (HELD_OUT, False)):
            for module in modules:
                yield found.get((target, module)) or _synthesize(target, module, fitted=fitted)


def _synthesize(target: Target, module: Module, *, fitted: bool) -> ModuleRun:
    counts = synthesize_rtl(render_module(module), TOPS[type(module)], target, dsps=isinstance(module, TailLane))
    return ModuleRun(target, module, counts.luts, counts.dsps, fitted)


def save_module_runs(runs: Iterable[ModuleRun], path: Path = FILE) -> None:
    write_records(path, (run.record() for run in runs))
