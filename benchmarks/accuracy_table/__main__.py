"""Measures the cells that are missing, or whose model or config changed, and writes docs/accuracy_table.md.

python -m benchmarks.accuracy_table [--network NAME] [--row ROW] [--column COLUMN]

Every cell is kept as soon as it is measured: what is interrupted goes on from there.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.accuracy_table.cells import COLUMNS, NETWORKS, ROWS, Cell, all_cells
from benchmarks.accuracy_table.measuring import measure_cell
from benchmarks.accuracy_table.page import PAGE, accuracy_page, cell_figures
from benchmarks.accuracy_table.results import is_current, load_results, save_results
from benchmarks.builds import available, model_digest
from bfpc.jobs import Engine, open_engine
from bfpc.progress import silent


def main() -> None:
    arguments = _arguments()
    wanted = [cell for cell in all_cells() if _is_wanted(cell, arguments) and cell.network in available()]
    with open_engine(processes=arguments.processes) as engine:
        for cell in wanted:
            _measure(cell, engine, again=arguments.again)
    PAGE.write_text(accuracy_page(load_results()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_table", description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=NETWORKS, help="this one alone; may be repeated")
    parser.add_argument("--row", action="append", choices=ROWS, help="these formats alone")
    parser.add_argument("--column", action="append", choices=COLUMNS, help="this column alone")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    parser.add_argument("--processes", type=int, help="one for each core if not given")
    return parser.parse_args()


def _is_wanted(cell: Cell, arguments: argparse.Namespace) -> bool:
    chosen = (arguments.network, arguments.row, arguments.column)
    return all(names is None or name in names for names, name in zip(chosen, vars(cell).values(), strict=True))


def _measure(cell: Cell, engine: Engine, *, again: bool) -> None:
    """Keeps what the cell holds now, whoever else wrote meanwhile."""
    known = load_results().get(cell)
    if known and is_current(cell, known) and known.model == model_digest(cell.network) and not again:
        return
    start = time.monotonic()
    result = measure_cell(cell, engine, silent)
    results = {**load_results(), cell: result}
    save_results(results)
    PAGE.write_text(accuracy_page(results))
    print(f"{cell}: {cell_figures(cell, results)}, measured in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
