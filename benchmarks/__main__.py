"""Runs benchmarks: `python -m benchmarks [NAME ...]`, without a name all."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import ModuleType

from benchmarks import (
    bits_per_weight,
    compile_time,
    csim,
    emulator,
    exactness,
    feature_memory,
    partition,
    quantizer,
    schedule,
    sensitivity,
)
from benchmarks.builds import SHARED, available
from benchmarks.figures import print_figures, print_machine

BENCHMARKS: Mapping[str, ModuleType] = {
    "quantizer": quantizer,
    "emulator": emulator,
    "compile_time": compile_time,
    "csim": csim,
    "schedule": schedule,
    "feature_memory": feature_memory,
    "partition": partition,
    "bits_per_weight": bits_per_weight,
    "exactness": exactness,
    "sensitivity": sensitivity,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Prints figures beside their bars.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; without, all")
    names = parser.parse_args().names
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    print_machine()
    for name in names or BENCHMARKS:
        print_figures(BENCHMARKS[name].TITLE, BENCHMARKS[name].measure())
    if not available():
        print(f"\nTrained networks are measured where {SHARED}/zoo holds them.")


if __name__ == "__main__":
    main()
