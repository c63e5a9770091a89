"""The pictures of the pages show what the quantizer does today, and what their page says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.real_layer import measure
from docs.pictures import FOLDER, MEASURED, PICTURES, digest, draw, weights_rows, window_rows
from docs.walkthroughs import DOCS

PAGE = (DOCS / "block_floating_point.md").read_text()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_what_is_computed(name: str) -> None:
    drawn = (FOLDER / f"{name}.svg").read_text()
    assert f"<!-- shows {digest(PICTURES[name].rows())} -->" in drawn, "run make docs"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_alike_every_time_and_for_light_and_dark(name: str) -> None:
    drawn = draw(PICTURES[name])
    assert drawn == draw(PICTURES[name])
    assert "prefers-color-scheme:dark" in drawn
    assert "currentColor" in drawn
    assert not re.search(r'(?:fill|stroke)="(?:black|#000|#000000|#888)"', drawn), "a colour that a dark page swallows"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_on_the_page(name: str) -> None:
    assert f"](pictures/{name}.svg)" in PAGE


def test_the_page_tells_the_figures_of_its_pictures() -> None:
    at_four_bits = [row["sqnr_db"] for row in weights_rows() if row["bits"] == 4]
    assert all(f"{figure:.1f} dB" in PAGE for figure in at_four_bits)
    below = sum(row["share"] for row in window_rows() if row["held"] == "below it")
    assert f"all blocks but {below:.2f} %" in " ".join(PAGE.split())


def test_what_is_shown_of_a_trained_layer_is_what_is_measured(zoo: Path, pictures: Path) -> None:
    assert zoo.is_dir()
    assert pictures.is_dir()
    found, kept = json.loads(json.dumps(measure())), json.loads(MEASURED.read_text())
    assert found["weights"] == kept["weights"]
    assert found["map"].keys() == kept["map"].keys()
    assert found["map"]["block_tops"] == pytest.approx(kept["map"]["block_tops"], abs=0.05)
