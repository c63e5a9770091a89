"""What was measured, cell by cell, kept in docs/recovery_table.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.builds import TRAINED
from benchmarks.records import write_records
from bfpc.config_sections import Passes

RESULTS = Path(__file__).parents[2] / "docs" / "recovery_table.json"
PRESETS = ("int54", "int8")
VARIANTS = (
    "plain",
    "plain, signed maps",
    "extra sign bit",
    *Passes.model_fields,
    "compensate_rounding and correct_bias",
    "first and last layer wide",
    "recovery",
    *(f"recovery {'without' if by_default else 'and'} {name}" for name, by_default in Passes()),
)


@dataclass(frozen=True)
class Cell:
    """A network in a variant of a preset."""

    network: str
    preset: str
    variant: str

    def __str__(self) -> str:
        return f"{self.network}, {self.preset}, {self.variant}"


@dataclass(frozen=True)
class Result:
    """config, model: digests of what it was measured with; sqnr_db: of the outputs against float32."""

    config: str
    model: str
    sqnr_db: float


Results = Mapping[Cell, Result]


def all_cells() -> Iterator[Cell]:
    yield from (Cell(network, preset, variant) for network in TRAINED for preset in PRESETS for variant in VARIANTS)


def load_results(path: Path = RESULTS) -> dict[Cell, Result]:
    """Nothing where there is no file yet."""
    if not path.exists():
        return {}
    return {
        Cell(record.pop("network"), record.pop("preset"), record.pop("variant")): Result(**record)
        for record in json.loads(path.read_text())
    }


def save_results(results: Results, path: Path = RESULTS) -> None:
    """One cell a line, in the order of the page; cells that there are no more go."""
    kept = [cell for cell in all_cells() if cell in results]
    write_records(path, ({**asdict(cell), **asdict(results[cell])} for cell in kept))
