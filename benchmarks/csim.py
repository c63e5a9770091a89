"""The speed of the C simulation, which also compares every stored bit with the emulator's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from benchmarks.builds import build
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS

TITLE = "C simulation: full-size networks, one image, one core, -O3"
ROUNDS = 3


def measure() -> Iterator[Figure]:
    for name in NETWORKS:
        for preset in ("int54", "int8"):
            command = ["make", "--silent", "-C", str(build(name, preset) / "hls"), "csim"]
            runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(ROUNDS)]
            speeds = [float(match[1]) for run in runs if (match := re.search(r"([\d.]+) GMAC/s", run))]
            yield Figure(f"{name} {preset}, best of {ROUNDS}", max(speeds), "GMAC/s", 1.0, more_is_better=True)
