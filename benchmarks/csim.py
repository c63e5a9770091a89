"""The speed of the C simulation, which also compares every stored bit with the emulator's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from benchmarks.builds import full_size_build
from benchmarks.figures import Figure

TITLE = "C simulation: full-size ResNet-50, one image, one core, -O3"
ROUNDS = 3


def measure() -> Iterator[Figure]:
    for preset in ("int54", "int8"):
        command = ["make", "--silent", "-C", str(full_size_build("resnet50", preset) / "hls"), "csim"]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(ROUNDS)]
        speeds = [float(match[1]) for run in runs if (match := re.search(r"([\d.]+) GMAC/s", run))]
        yield Figure(f"{preset}, best of {ROUNDS}", max(speeds), "GMAC/s", 1.0, more_is_better=True)
