"""Tail lanes and unpackers: their counted operators, scaled to what a synthesizer made of some of them.

The runs of module_area.json are RTL of templates/rtl, step by step as the C++ has it, in Yosys; `python -m
benchmarks.area_table` makes them. One factor for each module and target is fitted; runs that are held out tell its
error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from bfpc.backend.area import fit
from bfpc.backend.devices import Target
from bfpc.backend.logic import Operators, TailLane, Unpacker
from bfpc.backend.memories import EXPONENT_BITS
from bfpc.backend.templates import template_environment

RUNS = "module_area.json"
Module = TailLane | Unpacker
TOPS: dict[type[Module], str] = {TailLane: "tail_lane", Unpacker: "unpacker"}  # modules, and files, of the RTL


@dataclass(frozen=True)
class ModuleRun:
    """logic: LUTs or ALMs; dsps: DSPs that the synthesizer took. fitted: whether the fit sees it."""

    target: Target
    module: Module
    logic: int
    dsps: int
    fitted: bool

    def record(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "target": self.target,
            TOPS[type(self.module)]: asdict(self.module),
            "logic": self.logic,
            "dsps": self.dsps,
            "fitted": self.fitted,
        }


@dataclass(frozen=True)
class Scale:
    """factor: on the logic of counted operators. error: the largest of runs held out, relative."""

    factor: float
    error: float


def operators_logic(operators: Operators, target: Target) -> float:
    """LUTs or ALMs of adders and multiplexers, as the array's fit has them."""
    found = fit(target)
    return operators.adders * found.adder_bit + operators.multiplexers * found.multiplexer_bit


@cache
def scale(top: str, target: Target) -> Scale:
    """That of the runs that ship with the package. top: of TOPS."""
    return fit_scale([run for run in load_module_runs() if run.target == target and TOPS[type(run.module)] == top])


def fit_scale(runs: Sequence[ModuleRun]) -> Scale:
    """Least squares of relative errors. runs: of one module and target."""
    shares = {run: operators_logic(run.module.operators, run.target) / run.logic for run in runs}
    fitted = np.array([share for run, share in shares.items() if run.fitted])
    factor = float(fitted.sum() / np.square(fitted).sum())
    return Scale(factor, max(abs(factor * share - 1) for run, share in shares.items() if not run.fitted))


@cache
def load_module_runs() -> tuple[ModuleRun, ...]:
    """Those that ship with the package."""
    records = json.loads((files("bfpc.backend") / RUNS).read_text())
    kinds = {top: kind for kind, top in TOPS.items()}
    return tuple(
        ModuleRun(record["target"], kinds[top](**record[top]), record["logic"], record["dsps"], record["fitted"])
        for record in records
        for top in kinds.keys() & record.keys()
    )


def render_module(module: Module) -> str:
    """SystemVerilog, its top module as in TOPS."""
    template = template_environment("rtl").get_template(f"{TOPS[type(module)]}.sv.j2")
    return template.render(module=module, exponent_bits=EXPONENT_BITS)
