"""Corrections of predicted noise, on a problem whose true multipliers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bfpc.search.choice import Problem
from bfpc.search.corrections import Check, believed_noises, corrected, fit_corrections, image_levels

OPTIONS = np.array([8.0, 4.0, 2.0, 1.0])
TRUE = np.array([0.5, 0.8, 1.0, 1.2, 1.6])
PROBLEM = Problem((np.arange(4.0),) * len(TRUE), (OPTIONS,) * len(TRUE))


def measured(count: int) -> list[Check]:
    """So many choices with their true noise."""
    picks = np.random.default_rng(1).integers(0, 4, (count, len(TRUE)))
    return [Check(tuple(map(int, pick)), float(TRUE @ OPTIONS[pick])) for pick in picks]


def test_with_a_check_for_each_decision_the_multipliers_are_found() -> None:
    checks = measured(40)
    found = fit_corrections(PROBLEM, checks[0].choice, checks)
    np.testing.assert_allclose(found.mean, TRUE, rtol=0.1)
    errors = [corrected(PROBLEM, found.mean).noise(check.choice) / check.noise - 1 for check in checks]
    assert np.abs(errors).max() < 0.05


def test_one_check_says_only_what_all_of_them_are_together() -> None:
    checks = measured(1)
    found = fit_corrections(PROBLEM, checks[0].choice, checks)
    assert corrected(PROBLEM, found.mean).noise(checks[0].choice) == np.float64(checks[0].noise).round(12)
    np.testing.assert_allclose(found.mean, found.mean[0])


def test_draws_scatter_where_little_is_known_and_are_never_free_of_noise() -> None:
    few, many = (fit_corrections(PROBLEM, checks[0].choice, checks) for checks in (measured(1), measured(60)))
    random = np.random.default_rng(2)
    scatter = [np.std([each.draw(random) for _ in range(200)], axis=0).mean() for each in (few, many)]
    assert scatter[1] < 0.3 * scatter[0]
    assert min(few.draw(random).min() for _ in range(500)) > 0


def test_a_check_on_few_images_says_less_than_its_noise() -> None:
    exact = measured(8)
    noise = exact[-1].noise
    sure = replace(exact[-1], noise=noise / 2)
    believed, taken = (
        believed_noises(PROBLEM, exact[0].choice, [*exact[:-1], check])[-1]
        for check in (replace(sure, error=1.0), sure)
    )
    assert believed > 0.75 * noise
    assert taken == pytest.approx(noise / 2)


def test_errors_are_of_what_checks_do_not_share() -> None:
    random = np.random.default_rng(3)
    images = random.gamma(1.0, size=400)
    assert image_levels([list(2 * images), list(3 * images)])[1] == pytest.approx(0, abs=1e-12)
    differing = [list(images * random.gamma(4.0, size=400) / 4) for _ in range(20)]
    levels, error = image_levels(differing)
    assert error == pytest.approx(np.std(levels) / images.sum(), rel=0.3)
    assert error == pytest.approx(0.5 / 400**0.5, rel=0.1)  # what differs has a deviation of a half


def test_noisy_images_do_not_drown_the_others() -> None:
    """Where images differ a hundredfold in all checks alike, levels tell checks apart better than sums do."""
    random = np.random.default_rng(4)
    images, true = 10 ** random.uniform(-1, 1, 32), np.linspace(1, 2, 40)
    differing = true[:, np.newaxis] * images * random.gamma(1.0, size=(40, 32))
    levels, _ = image_levels(differing.tolist())
    by_level, by_sum = (np.std(np.log(found / true)) for found in (levels, differing.sum(axis=1)))
    assert by_level < 0.8 * by_sum
    assert np.mean(levels / true) == pytest.approx(images.sum(), rel=0.1)


def test_images_without_any_noise_say_nothing() -> None:
    levels, error = image_levels([(0.0, 1.0, 2.0), (0.0, 2.0, 4.0)])
    assert levels == pytest.approx([3, 6])
    assert error == pytest.approx(0)


def test_what_a_nearly_silent_image_adds_in_one_check_changes_little() -> None:
    usual = [(1e-9, *random.gamma(100.0, size=20)) for random in map(np.random.default_rng, range(10))]
    louder = (1e-6, *usual[0][1:])
    levels, _ = image_levels([louder, *usual])
    assert levels[0] == pytest.approx(levels[1], rel=1e-6)


def test_without_noises_of_several_images_there_is_no_error() -> None:
    assert image_levels([(0.5,), (0.25,)]) == ([0.5, 0.25], 0)
    assert image_levels([(0.5, 0.25)]) == ([0.75], 0)
    assert image_levels([(0.0, 0.0), (0.0, 0.0)]) == ([0, 0], 0)
