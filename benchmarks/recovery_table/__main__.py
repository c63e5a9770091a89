"""Measures the cells that are missing, or whose model or config changed, and writes docs/recovery_table.md.

python -m benchmarks.recovery_table [--network NAME] [--preset PRESET]

Every cell is kept as soon as it is measured: what is interrupted goes on from there.
"""

from __future__ import annotations

import argparse

from benchmarks.builds import TRAINED, available, model_digest
from benchmarks.recovery_table.measuring import config_digest, measure_cell
from benchmarks.recovery_table.page import PAGE, recovery_page
from benchmarks.recovery_table.results import PRESETS, Cell, all_cells, load_results, save_results
from bfpc.jobs import Engine, open_engine


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery_table", description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=TRAINED, help="this one alone; may be repeated")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="this one alone")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    arguments = parser.parse_args()
    networks, presets = arguments.network or available(), arguments.preset or PRESETS
    with open_engine(processes=1) as engine:
        for cell in all_cells():
            if cell.network in networks and cell.preset in presets:
                _measure(cell, engine, again=arguments.again)
    PAGE.write_text(recovery_page(load_results()))


def _measure(cell: Cell, engine: Engine, *, again: bool) -> None:
    """Keeps what the cell holds now, whoever else wrote meanwhile."""
    known = load_results().get(cell)
    if known and (known.config, known.model) == (config_digest(cell), model_digest(cell.network)) and not again:
        return
    result = measure_cell(cell, engine)
    save_results({**load_results(), cell: result})
    print(f"{cell}: {result.sqnr_db:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
