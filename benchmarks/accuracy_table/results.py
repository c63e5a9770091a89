"""What was measured, cell by cell, kept in docs/accuracy_table.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.accuracy_table.cells import Cell, all_cells, config_digest
from benchmarks.records import write_records
from bfpc.comparison import Score

RESULTS = Path(__file__).parents[2] / "docs" / "accuracy_table.json"


@dataclass(frozen=True)
class Result:
    """What a cell holds. config, model: digests of what it was measured with; sqnr_db: by output, none of float32."""

    config: str
    model: str
    images: int
    bits_per_weight: float
    sqnr_db: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)


Results = Mapping[Cell, Result]


def is_current(cell: Cell, result: Result) -> bool:
    """Whether the cell would be measured with the same config now."""
    return result.config == config_digest(cell)


def load_results(path: Path = RESULTS) -> dict[Cell, Result]:
    """Nothing where there is no file yet."""
    if not path.exists():
        return {}
    return dict(_entry(**record) for record in json.loads(path.read_text()))


def save_results(results: Results, path: Path = RESULTS) -> None:
    """One cell a line, in the order of the page; cells that there are no more go."""
    kept = [cell for cell in all_cells() if cell in results]
    write_records(path, ({**asdict(cell), **asdict(results[cell])} for cell in kept))


def _entry(network: str, row: str, column: str, **figures: object) -> tuple[Cell, Result]:
    scores = {name: Score(**score) for name, score in figures.pop("scores").items()}  # type: ignore[attr-defined]
    return Cell(network, row, column), Result(**figures, scores=scores)  # type: ignore[arg-type]
