"""Corrects predicted noise by what checks of whole choices found.

Sensitivities are measured one tensor at a time, and on float activations. In the whole, some decisions matter more than
that, others less. Each has a multiplier of its noise, and a check says what all of them add up to:

    sum over decisions of multiplier * predicted noise of the option chosen = measured noise, up to an error

Multipliers are normally distributed around a common one; the checks make that distribution narrower where they say
something (Bayesian linear regression). A choice is made with multipliers drawn from it, so that what is uncertain and
may be good is tried (Thompson, "On the likelihood that one unknown probability exceeds another", 1933).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.search.choice import Choice, Problem

PRIOR_SPREAD = 0.4  # of a decision's multiplier, relative to the common one
CHECK_ERROR = 0.02  # of the sum, relative to what was measured, close to the best choice
DISTANT_ERROR = 0.3  # grows with the distance: times the logarithm of the ratio of the noises
LEAST = 0.1  # of a multiplier, relative to the common one: none makes noise free

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Corrections:
    """The distribution of the multipliers. mean: [decisions]; spread: a square root of the covariance; least: bound."""

    mean: Numbers
    spread: Numbers
    least: float

    def draw(self, random: np.random.Generator) -> Numbers:
        return np.maximum(self.mean + self.spread @ random.standard_normal(len(self.mean)), self.least)


def fit_corrections(problem: Problem, best: Choice, measured: Sequence[tuple[Choice, float]]) -> Corrections:
    """best: one of those measured, around which the corrections are to hold; measured: noises above 0."""
    found = dict(measured)[best]
    noises = np.array([noise for _, noise in measured])
    parts = np.array([_parts(problem, choice) for choice, _ in measured]) / noises[:, np.newaxis]
    error = CHECK_ERROR + DISTANT_ERROR * np.abs(np.log(noises / found))
    common = found / max(problem.noise(best), np.finfo(float).tiny)
    spread = PRIOR_SPREAD * common
    precision = (parts / error[:, np.newaxis] ** 2).T @ parts + np.eye(parts.shape[1]) / spread**2
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    mean = common + factor @ (factor.T @ (parts.T @ ((1 - common * parts.sum(axis=1)) / error**2)))
    return Corrections(mean, factor, LEAST * common)


def corrected(problem: Problem, multipliers: Numbers) -> Problem:
    noises = tuple(noise * factor for noise, factor in zip(problem.noises, multipliers, strict=True))
    return replace(problem, noises=noises)


def _parts(problem: Problem, choice: Choice) -> list[float]:
    """The predicted noise of each decision."""
    return [float(noises[option]) for noises, option in zip(problem.noises, choice, strict=True)]
