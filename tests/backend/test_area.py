"""The area model: fitted to synthesis runs, judged by others."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from bfpc.backend.area import Fit, Run, array_luts, fit, fit_runs, load_runs, part_bits
from bfpc.backend.devices import Target
from bfpc.backend.processing_element import ProcessingElement
from tests.backend.graphs import ARCHITECTURE

MOST_ERROR = 0.1
ELEMENT = ProcessingElement(16, 16, 5, 4)
TARGETS = get_args(Target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_model_errs_by_a_tenth_at_most_on_runs_that_it_has_not_seen(target: Target) -> None:
    runs = [run for run in load_runs() if run.target == target]
    fitted, held_out = ({run.element for run in runs if run.fitted is side} for side in (True, False))
    assert len(held_out) >= 16
    assert not fitted & held_out
    assert {run.in_dsps for run in runs if not run.fitted} == {False, True}
    assert fit(target).error <= MOST_ERROR


def test_the_fit_finds_what_made_the_runs() -> None:
    made = Fit(np.array([500.0, 300.0, 1000.0, 2000.0]), 0.0)
    sizes = [(16, 16, 5, 4), (16, 4, 8, 8), (32, 8, 3, 7), (64, 16, 6, 2), (8, 8, 12, 11)]
    elements = [(ProcessingElement(*size), in_dsps) for size in sizes for in_dsps in (False, True)]
    runs = [
        Run("xcup", each, in_dsps, round(made.logic(each, in_dsps=in_dsps)), fitted=True) for each, in_dsps in elements
    ]
    found = fit_runs((*runs, replace(runs[0], logic=2 * runs[0].logic, fitted=False)))
    assert found.per_bit == pytest.approx(made.per_bit, rel=1e-3)
    assert found.error == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("field", ["activation_bits", "weight_bits", "exact_bits", "activation_range"])
def test_more_bits_never_take_less(field: str, target: Target) -> None:
    sizes = [fit(target).logic(replace(ELEMENT, **{field: bits})) for bits in range(2, 16)]  # type: ignore[arg-type]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_products_in_dsps_leave_the_adders_and_the_alignment() -> None:
    logic, dsps = (part_bits(ELEMENT, in_dsps=side) for side in (False, True))
    assert list(dsps[:2]) == [0, 0]
    assert list(dsps[2:]) == list(logic[2:])


def test_an_array_takes_what_its_elements_take() -> None:
    assert array_luts(replace(ARCHITECTURE, k_vec=2 * ARCHITECTURE.k_vec)) == 2 * array_luts(ARCHITECTURE)
