"""The table of the passes: which variants there are, and how the page follows from the results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.recovery_table.measuring import cell_config, config_digest, variants
from benchmarks.recovery_table.page import recovery_page
from benchmarks.recovery_table.results import VARIANTS, Cell, Result, all_cells, load_results, save_results
from bfpc.config import load_config
from bfpc.config_sections import Passes

PLAIN, RECOVERED = (Cell("resnet20", "int54", variant) for variant in ("plain", "recovery"))


def result(cell: Cell, sqnr_db: float) -> Result:
    return Result(config_digest(cell), "model", sqnr_db)


def row(page: str, preset: str, start: str) -> str:
    section = page.partition(f"## {preset}\n")[2]
    return next(line for line in section.splitlines() if line.startswith(f"| {start} |"))


def test_every_row_is_a_variant() -> None:
    assert tuple(variants(load_config("int54"))) == VARIANTS


@pytest.mark.parametrize("name", Passes.model_fields)
def test_every_pass_is_measured_alone_and_switched_beside_the_others(name: str) -> None:
    plain, alone = (cell_config(replace(PLAIN, variant=variant)) for variant in ("plain", name))
    assert dict(alone.passes) == {**dict(plain.passes), name: True}
    assert alone.formats == plain.formats
    [switched] = [variant for variant in VARIANTS if variant in (f"recovery and {name}", f"recovery without {name}")]
    recovered, other = cell_config(RECOVERED).passes, cell_config(replace(PLAIN, variant=switched)).passes
    assert {key for key, on in recovered if on != dict(other)[key]} == {name}


def test_recovery_is_the_preset_as_it_ships() -> None:
    ships, recovered = load_config("int54"), cell_config(RECOVERED)
    assert (recovered.formats, recovered.overrides, recovered.passes) == (ships.formats, ships.overrides, ships.passes)


def test_a_cell_shows_its_figure_and_whether_its_config_is_an_older_one() -> None:
    page = recovery_page({PLAIN: result(PLAIN, 9.38), RECOVERED: replace(result(RECOVERED, 20.16), config="old")})
    assert row(page, "int54", "plain").startswith("| plain | 9.4 | - |")
    assert row(page, "int54", "recovery").startswith("| recovery | 20.2\\* | - |")
    assert row(page, "int8", "recovery").startswith("| recovery | - | - |")


def test_results_are_kept_in_the_order_of_the_page(tmp_path: Path) -> None:
    gone = replace(PLAIN, variant="luck")
    save_results(
        {RECOVERED: result(RECOVERED, 20), PLAIN: result(PLAIN, 9), gone: Result("", "", 1)}, tmp_path / "x.json"
    )
    kept = load_results(tmp_path / "x.json")
    assert kept == {PLAIN: result(PLAIN, 9), RECOVERED: result(RECOVERED, 20)}
    assert list(kept) == [cell for cell in all_cells() if cell in kept]
