"""What was synthesized, kept in docs/area_table.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.area_table.designs import Design, all_designs
from benchmarks.area_table.synthesis import Counts
from benchmarks.records import write_records

RESULTS = Path(__file__).parents[2] / "docs" / "area_table.json"
Results = Mapping[Design, Counts]


def load_results(path: Path = RESULTS) -> dict[Design, Counts]:
    """Nothing where there is no file yet."""
    if not path.exists():
        return {}
    records = json.loads(path.read_text())
    return {Design(**record["design"]): Counts(**record["counts"]) for record in records}


def save_results(results: Results, path: Path = RESULTS) -> None:
    """One design a line, in the order of the page; designs that there are no more go."""
    kept = [design for design in all_designs() if design in results]
    write_records(path, ({"design": asdict(design), "counts": asdict(results[design])} for design in kept))
