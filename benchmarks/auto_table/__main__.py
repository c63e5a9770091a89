"""Measures the cells that are missing, or whose model or config changed, and writes docs/auto_table.md.

python -m benchmarks.auto_table [--network NAME] [--preset PRESET]

Every cell is kept as soon as it is measured: what is interrupted goes on from there. One takes 5 to 20 minutes on a
core, less where another one of its network was measured in the same run.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.auto_table.measuring import config_digest, measure_cell, measured_model
from benchmarks.auto_table.page import PAGE, auto_page, cell_figures
from benchmarks.auto_table.results import PRESETS, Cell, all_cells, load_results, save_results
from benchmarks.builds import TRAINED, available
from benchmarks.records import digest
from bfpc.jobs import Engine, open_engine


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.auto_table", description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=TRAINED, help="this one alone; may be repeated")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="this one alone; may be repeated")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    parser.add_argument("--processes", type=int, help="one for each core if not given")
    arguments = parser.parse_args()
    networks, presets = arguments.network or available(), arguments.preset or PRESETS
    with open_engine(processes=arguments.processes) as engine:
        for cell in all_cells():
            if cell.network in networks and cell.preset in presets:
                _measure(cell, engine, again=arguments.again)
    PAGE.write_text(auto_page(load_results()))


def _measure(cell: Cell, engine: Engine, *, again: bool) -> None:
    """Keeps what the cell holds now, whoever else wrote meanwhile."""
    known = load_results().get(cell)
    model = digest(measured_model(cell.network).read_bytes())
    if known and (known.config, known.model) == (config_digest(cell), model) and not again:
        return
    start = time.monotonic()
    result = measure_cell(cell, engine)
    results = {**load_results(), cell: result}
    save_results(results)
    PAGE.write_text(auto_page(results))
    print(f"{cell}: {', '.join(cell_figures(cell, results))}, measured in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
