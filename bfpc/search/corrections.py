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
CHECK_ERROR = 0.02  # of the sum, relative to what was measured on ever so many images, close to the best choice
DISTANT_ERROR = 0.3  # grows with the distance: times the logarithm of the ratio of the noises
MODEL_ERROR = 0.2  # of a noise that is predicted with corrections, relative
QUIET_IMAGE = 0.1  # of the noise of an average image: one that is quieter counts less
LEAST = 0.1  # of a multiplier, relative to the common one: none makes noise free

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """A choice and its noise, above 0. error: the standard error of that, relative."""

    choice: Choice
    noise: float
    error: float = 0.0


@dataclass(frozen=True)
class Corrections:
    """The distribution of the multipliers. mean: [decisions]; spread: a square root of the covariance; least: bound."""

    mean: Numbers
    spread: Numbers
    least: float

    def draw(self, random: np.random.Generator) -> Numbers:
        return np.maximum(self.mean + self.spread @ random.standard_normal(len(self.mean)), self.least)


def fit_corrections(problem: Problem, near: Choice, checks: Sequence[Check]) -> Corrections:
    """near: one of those checked, around which the corrections are to hold."""
    noises = np.array([check.noise for check in checks])
    parts = np.array([_parts(problem, check.choice) for check in checks]) / noises[:, np.newaxis]
    found = next(check.noise for check in checks if check.choice == near)
    errors = np.hypot(CHECK_ERROR, [check.error for check in checks]) + DISTANT_ERROR * np.abs(np.log(noises / found))
    predicted = np.maximum(parts.sum(axis=1), np.finfo(float).tiny)
    common = float(np.average(1 / predicted, weights=errors**-2))
    spread = PRIOR_SPREAD * common
    precision = (parts / errors[:, np.newaxis] ** 2).T @ parts + np.eye(parts.shape[1]) / spread**2
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    mean = common + factor @ (factor.T @ (parts.T @ ((1 - common * parts.sum(axis=1)) / errors**2)))
    return Corrections(mean, factor, LEAST * common)


def believed_noises(problem: Problem, near: Choice, checks: Sequence[Check]) -> list[float]:
    """What the noise of each check is, ever so many images provided: between what was measured and what is predicted.

    The larger the error of what was measured beside what predictions miss, the more these count.
    """
    model = corrected(problem, fit_corrections(problem, near, checks).mean)
    shares = [MODEL_ERROR**2 / (MODEL_ERROR**2 + check.error**2) for check in checks]
    return [
        check.noise**share * model.noise(check.choice) ** (1 - share)
        for check, share in zip(checks, shares, strict=True)
    ]


def image_levels(noises: Sequence[Sequence[float]]) -> tuple[list[float], float]:
    """The noise of each check with all images counting alike, and the standard error of that, relative.

    noises: of each check what the batches of images add to it. An image that is noisy in any format tells formats apart
    no better than a quiet one, and would drown it: what an image adds is therefore taken relative to what it adds in
    all checks. The images of a check differ in that by chance; as much so in every check, since images are the same.
    """
    found = np.array(noises)
    checks, images = found.shape
    whole = found.sum(axis=1, keepdims=True)
    shares = found / np.maximum(whole, np.finfo(float).tiny)
    typical = shares.mean(axis=0)
    if min(checks, images) < 2 or not typical.any():
        return whole[:, 0].tolist(), 0.0
    counts = 1 / np.maximum(typical, QUIET_IMAGE / images)
    counts /= counts @ typical
    levels = shares @ counts
    scatter = counts * (shares - np.outer(levels, typical))
    variance = np.square(scatter).sum(axis=1).mean() * images / (images - 1)
    variance *= checks / (checks - 1)  # each check is part of what it is held against
    return (whole[:, 0] * levels).tolist(), float(np.sqrt(variance))


def corrected(problem: Problem, multipliers: Numbers) -> Problem:
    noises = tuple(noise * factor for noise, factor in zip(problem.noises, multipliers, strict=True))
    return replace(problem, noises=noises)


def _parts(problem: Problem, choice: Choice) -> list[float]:
    """The predicted noise of each decision."""
    return [float(noises[option]) for noises, option in zip(problem.noises, choice, strict=True)]
