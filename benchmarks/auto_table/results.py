"""What was measured, cell by cell, kept in docs/auto_table.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.builds import TRAINED
from benchmarks.records import write_records

RESULTS = Path(__file__).parents[2] / "docs" / "auto_table.json"
PRESETS = ("int8", "int6", "int5", "int54", "int4")


@dataclass(frozen=True)
class Cell:
    """A network, and the preset that the search is held against."""

    network: str
    preset: str

    def __str__(self) -> str:
        return f"{self.network}, {self.preset}"


@dataclass(frozen=True)
class Point:
    """SQNR at the network's outputs, on held-out pictures; weight bits of the whole network, exponents included."""

    sqnr_db: float
    weight_bits: int


@dataclass(frozen=True)
class Result:
    """The uniform formats, and what was chosen for more SQNR in their weight bits, and for fewer bits at their SQNR.

    config, model: digests of what it was measured with; gain_error_db: standard error of what `more_sqnr` gains; None
    of older measurements.
    """

    config: str
    model: str
    uniform: Point
    more_sqnr: Point
    gain_error_db: float | None
    fewer_bits: Point


Results = Mapping[Cell, Result]


def all_cells() -> Iterator[Cell]:
    yield from (Cell(network, preset) for network in TRAINED for preset in PRESETS)


def load_results(path: Path = RESULTS) -> dict[Cell, Result]:
    """Nothing where there is no file yet."""
    if not path.exists():
        return {}
    return dict(_entry(**record) for record in json.loads(path.read_text()))


def save_results(results: Results, path: Path = RESULTS) -> None:
    """One cell a line, in the order of the page; cells that there are no more go."""
    kept = [cell for cell in all_cells() if cell in results]
    write_records(path, ({**asdict(cell), **asdict(results[cell])} for cell in kept))


def _entry(network: str, preset: str, **figures: object) -> tuple[Cell, Result]:
    points = {key: Point(**value) for key, value in figures.items() if isinstance(value, dict)}
    return Cell(network, preset), Result(**{**figures, **points})  # type: ignore[arg-type]
