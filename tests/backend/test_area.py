"""The area model: fitted to synthesis runs, judged by others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfpc.backend.area import Run, array_luts, element_luts, fit, fit_runs, load_runs, part_bits
from bfpc.backend.processing_element import ProcessingElement
from tests.backend.graphs import ARCHITECTURE

MOST_ERROR = 0.1
ELEMENT = ProcessingElement(16, 16, 5, 4)


def test_the_model_errs_by_a_tenth_at_most_on_runs_that_it_has_not_seen() -> None:
    runs = load_runs()
    fitted, held_out = ({run.element for run in runs if run.fitted is side} for side in (True, False))
    assert len(held_out) >= 8
    assert not fitted & held_out
    assert fit().error <= MOST_ERROR


def test_the_fit_finds_what_made_the_runs() -> None:
    luts_per_bit = np.array([0.5, 1.0, 2.0])
    sizes = [(16, 16, 5, 4), (16, 4, 8, 8), (32, 8, 3, 7), (64, 16, 6, 2), (8, 8, 12, 11)]
    elements = [ProcessingElement(*size) for size in sizes]
    runs = [Run(each, round(1000 * float(part_bits(each) @ luts_per_bit)), fitted=True) for each in elements]
    found = fit_runs((*runs, replace(runs[0], luts=2 * runs[0].luts, fitted=False)))
    assert found.luts_per_bit / 1000 == pytest.approx(luts_per_bit, rel=1e-3)
    assert found.error == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("field", ["activation_bits", "weight_bits", "exact_bits", "activation_range"])
def test_more_bits_never_take_less(field: str) -> None:
    sizes = [element_luts(replace(ELEMENT, **{field: bits})) for bits in range(2, 16)]  # type: ignore[arg-type]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_an_array_takes_what_its_elements_take() -> None:
    assert array_luts(replace(ARCHITECTURE, k_vec=2 * ARCHITECTURE.k_vec)) == 2 * array_luts(ARCHITECTURE)
