"""How far quantized values are from the original network's, and the verdict of a verification."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DB = 200.0  # stands for equality: JSON has no infinity


@dataclass(frozen=True)
class Comparison:
    """One tensor against the original network's.

    sqnr_db: signal to quantization noise, from -200 to 200 dB.
    cosine: of the angle between the two as vectors.
    top1_agreement: fraction of images with the same largest element; None where the tensor holds no class scores.
    """

    name: str
    sqnr_db: float
    cosine: float
    max_abs_error: float
    top1_agreement: float | None = None


@dataclass(frozen=True)
class Verification:
    """What a verification found. `bit_exact` is None without C simulation; `failures` says why it is not `passed`."""

    outputs: tuple[Comparison, ...]
    layers: tuple[Comparison, ...]
    bit_exact: bool | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> str:
        """The object that `bfpc verify --json` prints; its keys are documented and stay."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=2, allow_nan=False)


def compare(name: str, expected: NDArray[Any], found: NDArray[Any]) -> Comparison:
    """Compares two arrays [images, ...] of one shape. Images of one axis with several elements are class scores."""
    reference, quantized = expected.astype(np.float64), found.astype(np.float64)
    error = quantized - reference
    norms = float(np.linalg.norm(reference) * np.linalg.norm(quantized))
    product = float(np.vdot(reference, quantized))
    return Comparison(
        name=name,
        sqnr_db=sqnr_db(float(np.vdot(reference, reference)), float(np.vdot(error, error))),
        cosine=product / norms if norms else float(not error.any()),
        max_abs_error=float(np.abs(error).max(initial=0.0)),
        top1_agreement=_top1_agreement(reference, quantized),
    )


def sqnr_db(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, clamped to +-MAX_DB."""
    if not noise:
        return MAX_DB
    return max(-MAX_DB, min(MAX_DB, 10 * math.log10(signal / noise))) if signal else -MAX_DB


def _top1_agreement(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float | None:
    scores = [size for size in expected.shape[1:] if size > 1]
    if len(scores) != 1 or len(expected) == 0:
        return None
    best = [array.reshape(len(array), -1).argmax(axis=1) for array in (expected, found)]
    return float((best[0] == best[1]).mean())
