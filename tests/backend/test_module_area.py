"""Counted operators of tail lanes and unpackers, scaled to synthesis runs, and judged by others."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from bfpc.backend.devices import Target
from bfpc.backend.logic import TailLane, Unpacker
from bfpc.backend.module_area import TOPS, ModuleRun, fit_scale, load_module_runs, operators_logic, scale

MOST_ERROR = 0.1


@pytest.mark.parametrize("target", get_args(Target))
@pytest.mark.parametrize("top", TOPS.values())
def test_scaled_counts_err_by_a_tenth_at_most_on_runs_that_were_left_out(top: str, target: Target) -> None:
    runs = [run for run in load_module_runs() if run.target == target and TOPS[type(run.module)] == top]
    fitted, held_out = ({run.module for run in runs if run.fitted is side} for side in (True, False))
    assert len(held_out) >= 2
    assert not fitted & held_out
    assert scale(top, target).error <= MOST_ERROR


def test_a_factor_is_found_with_the_error_of_what_was_left_out() -> None:
    modules = [TailLane(32, 64, 6), TailLane(32, 48, 6)]
    runs = [ModuleRun("xcup", each, round(2 * operators_logic(each.operators, "xcup")), 0, True) for each in modules]
    other = replace(runs[0], module=TailLane(40, 64, 9), logic=round(operators_logic(modules[0].operators, "xcup")))
    found = fit_scale([*runs, replace(other, fitted=False)])
    assert found.factor == pytest.approx(2, rel=1e-3)
    assert found.error == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (TailLane(32, 48, 6), TailLane(32, 64, 6)),
        (Unpacker(16, 16, 5), Unpacker(32, 16, 5)),
        (Unpacker(16, 16, 5), Unpacker(16, 16, 6)),
        (Unpacker(32, 32, 5), Unpacker(32, 16, 5)),
    ],
)
def test_more_bits_lanes_and_exponents_take_more(smaller: TailLane | Unpacker, larger: TailLane | Unpacker) -> None:
    assert operators_logic(smaller.operators, "xcup") < operators_logic(larger.operators, "xcup")
