"""95 % intervals: of proportions in closed form, of any other score by drawing the images anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bfpc.comparison import Score

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 0

Statistic = Callable[[NDArray[np.float64]], ArrayLike]


def proportion(name: str, hits: NDArray[np.bool_]) -> Score:
    """The fraction of images that are a hit, with Wilson's score interval."""
    from scipy.stats import binomtest  # here, for it takes a second to import, and workers only collect

    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Score(name, float(hits.mean()), float(interval.low), float(interval.high), len(hits))


def bootstrap(names: tuple[str, ...], statistic: Statistic, images: int) -> tuple[Score, ...]:
    """Scores with percentile intervals of the bootstrap over images.

    statistic: makes the values of all `names` from how often each image counts, [images]; NaN where there is nothing to
    measure. Such a sample does not count for the interval, and a score that is NaN over all images is left out.
    """

    def evaluate(drawn: NDArray[np.intp] | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.atleast_1d(np.asarray(statistic(drawn.astype(np.float64)), np.float64))

    values = evaluate(np.ones(images))
    measured = np.isfinite(values)
    low, high = np.full((2, len(values)), np.nan)
    if images > 1 and measured.any():
        random = np.random.default_rng(SEED)
        draws = (np.bincount(random.integers(images, size=images), minlength=images) for _ in range(RESAMPLES))
        samples = np.array([evaluate(drawn) for drawn in draws])[:, measured]
        tail = (1 - CONFIDENCE) / 2
        low[measured], high[measured] = np.nanquantile(samples, (tail, 1 - tail), axis=0)
    return tuple(
        Score(name, float(value), _bound(least), _bound(most), images)
        for name, value, least, most in zip(names, values, low, high, strict=True)
        if np.isfinite(value)
    )


def _bound(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def mean(name: str, values: NDArray[np.float64]) -> tuple[Score, ...]:
    """The mean over images."""
    return bootstrap((name,), lambda drawn: drawn @ values / drawn.sum(), len(values))
