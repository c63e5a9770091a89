"""95 % intervals: published values, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from bfpc.measures.intervals import bootstrap, mean, proportion

RANDOM = np.random.default_rng(0)


def test_wilsons_interval_of_a_proportion() -> None:
    score = proportion("top1", np.arange(263) < 81)  # example (a) of Newcombe, 1998
    assert (score.low, score.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert proportion("top1", np.ones(10, np.bool_)).low == pytest.approx(0.7225, abs=5e-5)


def test_the_interval_of_a_mean_holds_the_truth_in_about_95_of_100_samples() -> None:
    held = 0
    for _ in range(100):
        (score,) = mean("noise", RANDOM.normal(3, 2, 60))
        assert score.low is not None
        assert score.high is not None
        held += score.low <= 3 <= score.high
    assert 88 <= held <= 99


def test_an_interval_is_the_same_every_time() -> None:
    values = RANDOM.normal(size=20)
    assert mean("noise", values) == mean("noise", values)


def test_one_image_has_no_interval() -> None:
    (score,) = mean("noise", np.array([1.5]))
    assert (score.value, score.low, score.high, score.images) == (1.5, None, None, 1)


def test_what_cannot_be_measured_is_left_out() -> None:
    (score,) = bootstrap(("never", "always"), lambda drawn: (np.nan, drawn.sum()), 4)
    assert (score.name, score.value, score.low, score.high) == ("always", 4, 4, 4)
