"""Which of the choices checked is taken, on a problem whose predictions are right but for their scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bfpc.config_search import Budget
from bfpc.search.belief import best_believed, best_or_given
from bfpc.search.choice import Choice, Problem
from bfpc.search.searcher import Checked, Searcher, sqnr_db_of

DECISIONS, IMAGES = 8, 32
PROBLEM = Problem((np.arange(3.0),) * DECISIONS, (np.array([4.0, 2.0, 1.0]) / 1000,) * DECISIONS)
WITHIN = Budget(cost="weight_bits", at_most=DECISIONS)
GIVEN = (1,) * DECISIONS
QUIETER = (2, *GIVEN[1:])
QUIET, LOUD = (0, 2, *GIVEN[2:]), (0, 0, *GIVEN[2:])  # 17, 20 to the 16 of those given


def checked(choice: Choice, luck: float, scatter: float, seed: int) -> Checked:
    """A check that found `luck` times the true noise; scatter: of its images, relative."""
    random, true = np.random.default_rng(seed), PROBLEM.noise(choice)
    drawn = random.gamma(scatter**-2, size=IMAGES) if scatter else np.ones(IMAGES)
    noises = luck * true * drawn / drawn.sum()
    whole = float(noises.sum())
    anything: Any = None
    return Checked(choice, anything, true, whole, tuple(noises), sqnr_db_of(whole), PROBLEM.cost(choice), True)


def searcher(*checks: Checked, budget: Budget = WITHIN) -> Searcher:
    anything: Any = None
    known = {check.choice: check for check in checks}
    return Searcher(anything, budget, anything, (), PROBLEM, anything, anything, anything, anything, checked=known)


def taken(*checks: Checked, budget: Budget = WITHIN) -> Choice:
    """The choice taken of these, of which the first is the best so far."""
    return best_believed(searcher(*checks, budget=budget), checks[0]).choice


def others(scatter: float) -> list[Checked]:
    """Checks of choices as noisy as LOUD, without luck: with them predictions are known to be right."""
    pairs = [(first, first + 1) for first in range(2, DECISIONS - 1)]
    choices = [tuple(0 if index in pair else 1 for index in range(DECISIONS)) for pair in pairs]
    return [checked(choice, 1.0, scatter, seed) for seed, choice in enumerate(choices, start=10)]


def test_what_was_lucky_on_images_that_differ_is_not_taken_whether_given_or_found() -> None:
    lucky, sober = checked(LOUD, 0.78, 2.0, seed=1), checked(GIVEN, 1.0, 2.0, seed=2)
    assert lucky.noise < sober.noise
    assert taken(lucky, sober, *others(2.0)) == GIVEN
    assert taken(sober, lucky, *others(2.0)) == GIVEN


def test_what_images_show_alike_is_taken_against_all_predictions() -> None:
    lucky, sober = checked(LOUD, 0.78, 0.0, seed=1), checked(GIVEN, 1.0, 0.0, seed=2)
    assert taken(sober, lucky, *others(0.0)) == LOUD


def test_of_equals_the_first_is_taken() -> None:
    assert taken(checked(QUIET, 1.0, 0.0, seed=1), checked((2, 0, *GIVEN[2:]), 1.0, 0.0, seed=2)) == QUIET


def test_what_exceeds_the_cost_is_never_taken() -> None:
    dear = checked((2,) * DECISIONS, 1.0, 0.0, seed=1)
    assert taken(checked(GIVEN, 1.0, 0.0, seed=2), dear) == GIVEN


def test_without_the_sqnr_as_accuracy_the_best_measured_is_taken() -> None:
    score = Budget(accuracy="top1", cost="weight_bits", at_most=DECISIONS)
    lucky, sober = checked(LOUD, 0.78, 2.0, seed=1), checked(GIVEN, 1.0, 2.0, seed=2)
    assert taken(sober, lucky, *others(2.0), budget=score) == LOUD


# -- The formats given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scatter", "expected"), [(0.02, QUIETER), (2.0, GIVEN)])
def test_formats_given_go_only_for_what_is_quieter_beyond_chance(
    monkeypatch: pytest.MonkeyPatch, scatter: float, expected: Choice
) -> None:
    monkeypatch.setattr(Searcher, "uniform", lambda _: {"as given": GIVEN})
    given, best = checked(GIVEN, 1.0, scatter, seed=1), checked(QUIETER, 1.0, scatter, seed=2)
    assert best_or_given(searcher(given, best, *others(scatter)), best).choice == expected


def test_formats_given_that_cost_too_much_go_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    dear, cheap = (2,) * DECISIONS, GIVEN
    monkeypatch.setattr(Searcher, "uniform", lambda _: {"as given": dear})
    best = checked(cheap, 1.0, 0.0, seed=2)
    assert best_or_given(searcher(checked(dear, 1.0, 0.0, seed=1), best), best) is best
