"""Corrections of predicted noise, on a problem whose true multipliers are known."""

from __future__ import annotations

import numpy as np

from bfpc.search.choice import Choice, Problem
from bfpc.search.corrections import corrected, fit_corrections

OPTIONS = np.array([8.0, 4.0, 2.0, 1.0])
TRUE = np.array([0.5, 0.8, 1.0, 1.2, 1.6])
PROBLEM = Problem((np.arange(4.0),) * len(TRUE), (OPTIONS,) * len(TRUE))


def measured(count: int) -> list[tuple[Choice, float]]:
    """So many choices with their true noise."""
    picks = np.random.default_rng(1).integers(0, 4, (count, len(TRUE)))
    return [(tuple(map(int, pick)), float(TRUE @ OPTIONS[pick])) for pick in picks]


def test_with_a_check_for_each_decision_the_multipliers_are_found() -> None:
    checks = measured(40)
    found = fit_corrections(PROBLEM, checks[0][0], checks)
    np.testing.assert_allclose(found.mean, TRUE, rtol=0.1)
    errors = [corrected(PROBLEM, found.mean).noise(choice) / noise - 1 for choice, noise in checks]
    assert np.abs(errors).max() < 0.05


def test_one_check_says_only_what_all_of_them_are_together() -> None:
    checks = measured(1)
    found = fit_corrections(PROBLEM, checks[0][0], checks)
    assert corrected(PROBLEM, found.mean).noise(checks[0][0]) == np.float64(checks[0][1]).round(12)
    np.testing.assert_allclose(found.mean, found.mean[0])


def test_draws_scatter_where_little_is_known_and_are_never_free_of_noise() -> None:
    few, many = (fit_corrections(PROBLEM, checks[0][0], checks) for checks in (measured(1), measured(60)))
    random = np.random.default_rng(2)
    scatter = [np.std([each.draw(random) for _ in range(200)], axis=0).mean() for each in (few, many)]
    assert scatter[1] < 0.3 * scatter[0]
    assert min(few.draw(random).min() for _ in range(500)) > 0
