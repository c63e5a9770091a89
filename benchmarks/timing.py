"""Times calls side by side, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

PAUSE = 0.02  # seconds: idle threads of the call before stop spinning


@dataclass(frozen=True)
class Times:
    """Seconds of each round of one call."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)


def interleaved(*calls: Callable[[], object], rounds: int) -> list[Times]:
    """Times the calls in turn, `rounds` times after one round that does not count."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, seconds in zip(calls, taken, strict=True):
            time.sleep(PAUSE)
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return [Times(tuple(seconds[1:])) for seconds in taken]
