"""The figures of a verification, against their definitions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.comparison import MAX_DB, Comparison, Verification, measure

RANDOM = np.random.default_rng(0)


def compare(name: str, expected: NDArray[Any], found: NDArray[Any]) -> Comparison:
    return measure(expected, found).comparison(name)


def test_noise_of_a_known_power() -> None:
    signal = RANDOM.choice([-1.0, 1.0], (4, 10, 5, 5))
    noise = 0.01 * RANDOM.choice([-1.0, 1.0], signal.shape)
    found = compare("x", signal, signal + noise)
    assert found.sqnr_db == pytest.approx(40)
    assert found.max_abs_error == pytest.approx(0.01)
    assert found.cosine == pytest.approx(1, abs=1e-3)
    assert found.top1_agreement is None


def test_equal_opposite_and_zero() -> None:
    x = RANDOM.standard_normal((2, 3, 4, 4))
    assert (compare("x", x, x).sqnr_db, compare("x", x, x).max_abs_error) == (MAX_DB, 0)
    assert compare("x", x, -x).cosine == pytest.approx(-1)
    assert (compare("x", 0 * x, 0 * x).sqnr_db, compare("x", 0 * x, 0 * x).cosine) == (MAX_DB, 1)
    assert (compare("x", 0 * x, x).sqnr_db, compare("x", 0 * x, x).cosine) == (-MAX_DB, 0)


def test_top1_agreement_counts_images_of_a_classifier() -> None:
    expected = np.eye(4)
    found = expected[[0, 1, 3, 3]]
    assert compare("x", expected, found).top1_agreement == 0.75
    assert compare("x", expected.reshape(4, 4, 1, 1), found.reshape(4, 4, 1, 1)).top1_agreement == 0.75
    assert compare("x", np.ones((4, 1)), np.ones((4, 1))).top1_agreement is None


def test_integers_and_shapes_that_depend_on_the_data_agree_or_not() -> None:
    classes = np.array([[3], [1], [4], [1]])
    found = compare("classes", classes, np.array([[3], [1], [4], [5]]))
    assert (found.agreement, found.sqnr_db, found.cosine, found.max_abs_error) == (0.75, None, None, None)
    boxes = RANDOM.standard_normal((2, 4))
    total = measure(boxes, boxes) + measure(boxes, boxes[:1])
    assert total.comparison("boxes").agreement == 0.5
    assert compare("none found", classes[:0], classes[:0]).agreement == 1
    assert compare("real numbers", boxes, boxes).agreement is None


def test_infinities_that_the_host_computes_have_finite_figures() -> None:
    logarithms = np.array([[-np.inf, 0.0, 1.0]])
    assert compare("x", logarithms, logarithms).sqnr_db == MAX_DB
    assert np.isfinite(compare("x", logarithms, np.array([[-3.0, np.nan, np.inf]])).max_abs_error or np.nan)


def test_measures_of_single_images_add_up_to_that_of_all() -> None:
    expected, found = RANDOM.standard_normal((2, 6, 10))
    whole = measure(expected, found).comparison("x")
    parts = [measure(expected[i : i + 1], found[i : i + 1]) for i in range(6)]
    summed = sum(parts[1:], parts[0]).comparison("x")
    assert summed.top1_agreement == whole.top1_agreement
    assert summed.sqnr_db == pytest.approx(whole.sqnr_db)
    assert summed.cosine == pytest.approx(whole.cosine)


@pytest.mark.parametrize("failures", [(), ("the output y has 3 dB, 20 are demanded",)])
def test_the_json_has_the_documented_keys(failures: tuple[str, ...]) -> None:
    x = RANDOM.standard_normal((2, 10))
    verification = Verification((compare("y", x, x),), (compare("a", x, x),), True, failures, ("careful",))
    found = json.loads(verification.to_json())
    assert found["passed"] is (not failures)
    assert found["bit_exact"] is True
    for comparison in found["outputs"] + found["layers"]:
        assert set(comparison) == {"name", "sqnr_db", "cosine", "max_abs_error", "top1_agreement", "agreement"}
