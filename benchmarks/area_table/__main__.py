"""Synthesizes the designs that are missing, and writes docs/area_table.md and the runs behind the area model.

python -m benchmarks.area_table [--again]

Every design is kept as soon as it is counted: what is interrupted goes on from there.
"""

from __future__ import annotations

import argparse

from benchmarks.area_table.designs import all_designs
from benchmarks.area_table.model_runs import FILE, measure_runs, save_runs
from benchmarks.area_table.module_runs import FILE as MODULE_FILE
from benchmarks.area_table.module_runs import measure_module_runs, save_module_runs
from benchmarks.area_table.page import PAGE, area_page
from benchmarks.area_table.results import load_results, save_results
from benchmarks.area_table.synthesis import synthesize
from bfpc.backend.area import load_runs
from bfpc.backend.module_area import load_module_runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.area_table", description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="synthesize also what is there already")
    again = parser.parse_args().again
    results = {} if again else load_results()
    for design in all_designs():
        if design not in results:
            results[design] = synthesize(design)
            save_results(results)
            print(design, results[design], flush=True)
    runs, known = [], () if again or not FILE.exists() else load_runs()
    for run in measure_runs(known):
        runs.append(run)
        print(run, flush=True)
    save_runs(runs)
    module_runs = list(measure_module_runs(() if again or not MODULE_FILE.exists() else load_module_runs()))
    save_module_runs(module_runs)
    PAGE.write_text(area_page(results, runs, module_runs))


if __name__ == "__main__":
    main()
