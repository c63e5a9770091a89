"""How busy the array is, by the schedule's own cycle count."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.builds import full_size_build
from benchmarks.figures import Figure

TITLE = "Schedule: full-size ResNet-50"


def measure() -> Iterator[Figure]:
    for preset in ("int54", "int8"):
        schedule = json.loads((full_size_build("resnet50", preset) / "schedule.json").read_text())
        utilization, first = schedule["utilization"], schedule["layers"][0]
        yield Figure(f"{preset}, utilization", 100 * utilization, "% of the array", 85, more_is_better=True)
        yield Figure(f"{preset}, of the first layer ({first['name']})", 100 * first["utilization"], "% of the array")
        yield Figure(f"{preset}, cycles", schedule["cycles"] / 1e6, "million an image")
        yield Figure(f"{preset}, DRAM traffic", schedule["dram_bytes"] / 1e6, "MB an image")
