"""The size of the weight memory beside what its formats promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.builds import all_networks, build
from benchmarks.figures import Figure

TITLE = "Bits per weight: stored, beside mantissa bits + exponent bits / block size, plus biases"
MOST_ABOVE = 5.0  # %


def measure() -> Iterator[Figure]:
    for preset in ("int54", "int8"):
        for name in all_networks():
            yield _size(f"{name} {preset}", build(name, preset))


def _size(what: str, folder: Path) -> Figure:
    schedule = json.loads((folder / "schedule.json").read_text())
    weights, programs = schedule["weights"], [layer["program"] for layer in schedule["layers"]]
    biases = sum(program["output_channels"] * program["bias_bits"] for program in programs)
    ideal = weights["ideal_bits_per_weight"] + biases / weights["count"]
    stored = weights["bits_per_weight"]
    size = f"{what}, {weights['bytes'] / 1e6:.2f} MB, {stored:.3f} bits"
    return Figure(size, 100 * (stored / ideal - 1), "% above ideal", MOST_ABOVE)
