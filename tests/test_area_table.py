"""The page of synthesis results: what follows from counts, and what waits for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.area_table.designs import BASELINE, Design, all_designs
from benchmarks.area_table.model_runs import FITTED, HELD_OUT
from benchmarks.area_table.page import area_page
from benchmarks.area_table.results import load_results, save_results
from benchmarks.area_table.synthesis import Counts

WHOLE = Design("xcup", "rows", 16, BASELINE, "float32")
NARROW = Design("xcup", "rows", 16, "int5/4", "exact")


def line(page: str, start: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(start))


@pytest.mark.parametrize(("luts", "verdict"), [(150, "met"), (151, "missed")])
def test_shares_are_of_the_baseline_in_the_same_table(luts: int, verdict: str) -> None:
    page = area_page({WHOLE: Counts(1000, 0, 32), NARROW: Counts(luts, 0, 32)}, (), ())
    assert line(page, "| int5/4 |") == f"| int5/4 | - | - | {luts} | {luts / 10:.1f} % |"
    assert line(page, "| more than the paper").endswith(f"| {luts / 10:.1f} % | 15 % | {verdict} |")


def test_what_was_not_synthesized_is_a_dash() -> None:
    page = area_page({}, (), ())
    assert line(page, "| int8 |") == "| int8 | - | - | - | - |"
    assert line(page, "| low precision").endswith("| - | 50 % | - |")
    assert "Not fitted yet" in page


def test_results_are_kept_in_the_order_of_the_page(tmp_path: Path) -> None:
    found = {NARROW: Counts(1, 2, 3), WHOLE: Counts(4, 5, 6)}
    save_results(found, tmp_path / "area.json")
    assert load_results(tmp_path / "area.json") == found
    assert list(load_results(tmp_path / "area.json")) == [design for design in all_designs() if design in found]


def test_the_model_is_judged_by_elements_that_it_was_not_fitted_to() -> None:
    assert not set(FITTED) & set(HELD_OUT)
