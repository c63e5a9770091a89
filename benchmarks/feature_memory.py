"""The size of the feature memory beside the largest sum of maps that are needed at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.builds import all_networks, build
from benchmarks.figures import Figure

TITLE = "Feature memory: planned, beside its lower bound, int54"
MOST = 1.1


def measure() -> Iterator[Figure]:
    for name in all_networks():
        schedule = json.loads((build(name, "int54") / "schedule.json").read_text())
        words, bound = schedule["feature_memory_words"], schedule["feature_memory_live_words"]
        yield Figure(f"{name}, {words * 8 / 1e6:.2f} MB", words / bound, "times the bound", MOST)
