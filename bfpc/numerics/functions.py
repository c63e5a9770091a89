"""The elementary functions that tables are made of, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import erf

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Step = tuple[str | float, ...]


def _sigmoid(x: Numbers) -> Numbers:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _elu(x: Numbers, alpha: float = 1.0) -> Numbers:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


FUNCTIONS: Mapping[str, Callable[..., Numbers]] = {
    "affine": lambda x, scale, shift: x * scale + shift,
    "clip": lambda x, low, high: np.clip(x, low, high),
    "elu": _elu,
    "erf": np.vectorize(erf, otypes=[np.float64]),
    "exp": np.exp,
    "log": np.log,
    "polynomial": lambda x, *coefficients: np.polynomial.polynomial.polyval(x, coefficients),
    "power": lambda x, exponent: np.power(x, exponent),
    "reciprocal": lambda x: 1.0 / x,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}


def apply_steps(steps: Iterable[Step], x: Numbers, *, gated: bool = False) -> Numbers:
    """The composition of `steps`, the innermost first, at x; times x if `gated`. Infinite or NaN outside a domain."""
    y = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        for name, *parameters in steps:
            y = FUNCTIONS[str(name)](y, *parameters)
        return y * x if gated else y
