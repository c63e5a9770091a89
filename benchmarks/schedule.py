"""How busy the array is, by the schedule's own cycle count."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.builds import build
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS

TITLE = "Schedule: full-size networks"
BARS = {"resnet50": 85}  # % of the array


def measure() -> Iterator[Figure]:
    for name in NETWORKS:
        for preset in ("int54", "int8"):
            what, schedule = f"{name} {preset}", json.loads((build(name, preset) / "schedule.json").read_text())
            utilization, first = 100 * schedule["utilization"], schedule["layers"][0]
            yield Figure(f"{what}, utilization", utilization, "% of the array", BARS.get(name), more_is_better=True)
            yield Figure(f"{what}, of the first layer ({first['name']})", 100 * first["utilization"], "% of the array")
            yield Figure(f"{what}, cycles", schedule["cycles"] / 1e6, "million an image")
            yield Figure(f"{what}, DRAM traffic", schedule["dram_bytes"] / 1e6, "MB an image")
