"""The search for the largest noise budget whose choice keeps to a floor on accuracy.

Predictions are sums of sensitivities; only a check of the whole network decides. So the noise budget of the choice is
tightened until a check holds, and loosened again while it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

MOST_CHECKS = 10
CLOSE = 0.02  # of two noise budgets' logarithms: 0.1 dB


class Result(Protocol):
    """What a check found. noise: at the network's outputs; cost: of the whole."""

    @property
    def noise(self) -> float: ...

    @property
    def cost(self) -> float: ...


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Range:
    """Noise budgets: the lowest that any choice keeps to, and the highest worth trying."""

    low: float
    high: float


def tighten(
    check: Callable[[float], AnyResult],
    holds: Callable[[AnyResult], bool],
    budgets: Range,
    target: float | None,
    most_checks: int = MOST_CHECKS,
) -> AnyResult | None:
    """The cheapest result that holds; None where even that of the lowest budget doesn't.

    check: the result of the choice with a noise budget. target: the noise that the floor stands for, where it is on
    noise: the ratio of target to measured noise tells how far to go; else budgets are halved in between.
    """
    low, high = math.log(budgets.low), math.log(budgets.high)
    guess = min(max(math.log(target) if target else (low + high) / 2, low), high)
    best: AnyResult | None = None
    for _ in range(most_checks):
        result = check(math.exp(guess))
        if holds(result):
            best = result if best is None or result.cost < best.cost else best
            low = guess
        elif guess <= low:
            return best
        else:
            high = guess
        if high - low < CLOSE:
            break
        guess = _next(guess, low, high, target, result.noise)
    return best or _lowest(check, holds, budgets)


def _next(guess: float, low: float, high: float, target: float | None, noise: float) -> float:
    middle = (low + high) / 2
    if not target or not noise:
        return middle
    step = guess + math.log(target / noise)
    return step if low + CLOSE / 2 < step < high - CLOSE / 2 else middle


def _lowest(
    check: Callable[[float], AnyResult], holds: Callable[[AnyResult], bool], budgets: Range
) -> AnyResult | None:
    result = check(budgets.low)
    return result if holds(result) else None
