"""The table of what the search is worth: what it is measured with, and how the page follows from the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.auto_table.measuring import config_digest, gain_error_db
from benchmarks.auto_table.page import auto_page
from benchmarks.auto_table.results import Cell, Point, Result, all_cells, load_results, save_results

MIB = 8 * 2**20
INT8, INT4 = Cell("resnet20", "int8"), Cell("resnet20", "int4")
RESULT = Result(
    config_digest(INT8), "model", Point(38.0, 8 * MIB), Point(38.5, 8 * MIB), 0.123, Point(38.1, round(5.95 * MIB))
)
LOW = replace(RESULT, config="old", uniform=Point(18.0, 4 * MIB), more_sqnr=Point(17.5, 4 * MIB))


def row(page: str, under: str, start: str) -> str:
    section = page.partition(f"{under}\n")[2]
    return next(line for line in section.splitlines() if line.startswith(f"| {start} |"))


def test_there_is_a_row_for_every_preset_of_every_network() -> None:
    assert auto_page({}).count("| - | - | - | - | - |\n") == len(list(all_cells())) + len(
        {c.network for c in all_cells()}
    )


def test_a_row_has_both_directions() -> None:
    assert row(auto_page({INT8: RESULT}), "### ResNet-20, CIFAR-10", "`int8`") == (
        "| `int8` | 38.0 dB, 8.000 MiB | 38.5 dB, 8.000 MiB | +0.50 ± 0.12 dB | 38.1 dB, 5.950 MiB | 26 % |"
    )


def test_a_gain_whose_error_was_not_kept_is_shown_without() -> None:
    page = auto_page({INT8: replace(RESULT, gain_error_db=None)})
    assert "| +0.50 dB |" in row(page, "### ResNet-20, CIFAR-10", "`int8`")


def test_bits_are_saved_against_the_line_between_uniform_formats() -> None:
    """At 28 dB, between 4 MiB at 18 dB and 8 MiB at 38 dB, uniform formats take 6 MiB."""
    results = {INT8: replace(RESULT, fewer_bits=Point(28.0, 3 * MIB)), INT4: LOW}
    assert row(auto_page(results), "### ResNet-20, CIFAR-10", "`int8`").endswith("| 28.0 dB, 3.000 MiB | 50 % |")


@pytest.mark.parametrize(
    ("gain_db", "reached_db", "mib", "counts"),
    [
        (0.2, 18.2, 4.1, "1 of 1 gain, 0 save bits, and 1 do one of both"),
        (0.1, 18.2, 3.9, "0 of 1 gain, 1 save bits, and 1 do one of both"),
        (0.1, 18.05, 3.9, "0 of 1 gain, 0 save bits, and 0 do one of both"),  # less than the error above the preset
        (-0.5, 18.2, 4.1, "0 of 1 gain, 0 save bits, and 0 do one of both"),
    ],
)
def test_only_what_is_beyond_the_error_is_counted(gain_db: float, reached_db: float, mib: float, counts: str) -> None:
    more = Point(LOW.uniform.sqnr_db + gain_db, 4 * MIB)
    result = replace(LOW, more_sqnr=more, fewer_bits=Point(reached_db, round(mib * MIB)))
    assert counts in " ".join(auto_page({INT4: result}).split())


def test_below_the_uniform_formats_nothing_says_what_they_would_take() -> None:
    page = auto_page({INT8: RESULT, INT4: replace(LOW, fewer_bits=Point(17.9, 3 * MIB))})
    assert row(page, "## All of them", "ResNet-20, CIFAR-10").endswith("| -0.5 dB; -\\* |")


def test_what_was_measured_with_another_config_is_marked() -> None:
    rows = [row(auto_page({INT8: RESULT, INT4: LOW}), "### ResNet-20, CIFAR-10", f"`{p}`") for p in ("int8", "int4")]
    assert ["\\*" in each for each in rows] == [False, True]


def test_the_error_of_a_gain_is_that_of_paired_pictures() -> None:
    """Twice the noise on every picture is 3 dB for certain; on one half of them alone it is not."""
    noises = np.random.default_rng(0).uniform(1, 2, 64)
    assert gain_error_db(2 * noises, noises) == pytest.approx(0)
    halves = noises * np.repeat([1, 2], 32)
    draws = np.random.default_rng(1).integers(0, 64, (4000, 64))
    gains = 10 * np.log10(noises[draws].sum(axis=1) / halves[draws].sum(axis=1))
    assert gain_error_db(halves, noises) == pytest.approx(np.std(gains), rel=0.1)


def test_results_are_kept_in_the_order_of_the_page(tmp_path: Path) -> None:
    gone = Cell("resnet20", "int3")
    save_results({INT4: LOW, INT8: RESULT, gone: RESULT}, tmp_path / "results.json")
    kept = load_results(tmp_path / "results.json")
    assert kept == {INT8: RESULT, INT4: LOW}
    assert list(kept) == [INT8, INT4]
