"""Reads what a build holds: its slowest layers, what the array waits for, and what runs on the host.

python examples/read_schedule.py build
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich import print as show

from bfpc import tables
from bfpc.inspection import inspect
from bfpc.partition_view import inspect_partition


def main(build: Path) -> None:
    found = inspect(build)
    show(tables.summary(found))  # what bfpc compile prints

    layers = found.schedule["layers"]  # schedule.json, whose keys docs/schedule.md tells
    for layer in sorted(layers, key=lambda layer: layer["cycles"], reverse=True)[:3]:
        share = layer["cycles"] / found.schedule["cycles"]
        print(f"{layer['name']}: {layer['cycles']} cycles, {share:.0%}; array used to {layer['utilization']:.0%}")

    for segment in inspect_partition(build).segments:
        for node in segment.nodes:
            print(f"on the host: {node.operator} {node.name}, since {node.reason}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
