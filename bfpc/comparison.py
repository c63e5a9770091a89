"""How far quantized values are from the original network's, scores, and the verdict of a verification."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DB = 200.0  # stands for equality: JSON has no infinity
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Comparison:
    """One tensor against the original network's.

    sqnr_db: signal to quantization noise, from -200 to 200 dB.
    cosine: of the angle between the two as vectors.
    top1_agreement: fraction of images with the same largest element; None where the tensor holds no class scores.
    agreement: fraction of equal elements of a tensor that is no signal: of integers, such as classes or indices, or of
        a shape that depends on the data; then there are no other figures. None for all others.
    """

    name: str
    sqnr_db: float | None
    cosine: float | None
    max_abs_error: float | None
    top1_agreement: float | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class Score:
    """An accuracy measured on `images` images. low, high: its 95 % interval; None where one image tells nothing of it.

    A name that ends in `_agreement` is of the float network's outputs as the truth, any other of labels.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    images: int


@dataclass(frozen=True)
class ScorePair:
    """A score of the build, and the float network's on the same images; None for an agreement with that itself."""

    build: Score
    float32: Score | None = None


@dataclass(frozen=True)
class Verification:
    """What a verification found on so many images.

    `bit_exact` is None without C simulation; `failures` says why it is not `passed`.
    """

    outputs: tuple[Comparison, ...]
    layers: tuple[Comparison, ...]
    bit_exact: bool | None = None
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    scores: tuple[ScorePair, ...] = ()
    images: int = 0

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> str:
        """The object that `bfpc verify --json` prints; its keys are documented and stay."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=2, allow_nan=False)


@dataclass(frozen=True)
class Sums:
    """Sums over images, from which a comparison follows; measures of parts of the images add up.

    agreeing: images with the same largest element; None where an image holds no class scores.
    equal, elements: how many elements are equal, of how many.
    is_signal: whether the elements are real numbers, as many in one tensor as in the other.
    """

    signal: float
    quantized: float
    noise: float
    product: float
    max_abs_error: float
    images: int
    agreeing: int | None
    equal: int
    elements: int
    is_signal: bool = True

    def __add__(self, other: Sums) -> Sums:
        agreeing = None if self.agreeing is None or other.agreeing is None else self.agreeing + other.agreeing
        return Sums(
            self.signal + other.signal,
            self.quantized + other.quantized,
            self.noise + other.noise,
            self.product + other.product,
            max(self.max_abs_error, other.max_abs_error),
            self.images + other.images,
            agreeing,
            self.equal + other.equal,
            self.elements + other.elements,
            self.is_signal and other.is_signal,
        )

    def comparison(self, name: str) -> Comparison:
        if not self.is_signal:
            agreement = self.equal / self.elements if self.elements else 1.0
            return Comparison(name, None, None, None, agreement=agreement)
        norms = math.sqrt(self.signal) * math.sqrt(self.quantized)
        return Comparison(
            name=name,
            sqnr_db=sqnr_db(self.signal, self.noise),
            cosine=self.product / norms if norms else float(not self.noise),
            max_abs_error=self.max_abs_error,
            top1_agreement=None if self.agreeing is None else self.agreeing / self.images,
        )


def measure(expected: NDArray[Any], found: NDArray[Any]) -> Sums:
    """Measures two arrays [images, ...]. Images of one axis with several elements are class scores.

    Of arrays of different shapes no element is equal.
    """
    images = len(expected) if expected.ndim else 1
    if expected.shape != found.shape or expected.dtype.kind != "f":
        equal = int((expected == found).sum()) if expected.shape == found.shape else 0
        size = max(expected.size, found.size)
        return Sums(0.0, 0.0, 0.0, 0.0, 0.0, images, None, equal, size, is_signal=False)
    # Not np.vdot: its threads wait for each other where the cores are busy.
    reference, quantized = _finite(expected), _finite(found)
    error = quantized - reference
    return Sums(
        signal=float(np.square(reference).sum()),
        quantized=float(np.square(quantized).sum()),
        noise=float(np.square(error).sum()),
        product=float((reference * quantized).sum()),
        max_abs_error=float(np.abs(error).max(initial=0.0)),
        images=images,
        agreeing=_agreeing(reference, quantized),
        equal=int((error == 0).sum()),
        elements=error.size,
    )


def _finite(tensor: NDArray[Any]) -> NDArray[np.float64]:
    """Infinities, which a host segment may compute, as the largest float32, and NaN as zero."""
    return np.nan_to_num(tensor.astype(np.float64), posinf=LARGEST, neginf=-LARGEST)


def sqnr_db(signal: float, noise: float) -> float:
    """The ratio of two powers in dB, clamped to +-MAX_DB."""
    if not noise:
        return MAX_DB
    return max(-MAX_DB, min(MAX_DB, 10 * math.log10(signal / noise))) if signal else -MAX_DB


def _agreeing(expected: NDArray[np.float64], found: NDArray[np.float64]) -> int | None:
    scores = [size for size in expected.shape[1:] if size > 1]
    if len(scores) != 1 or expected.size == 0:
        return None
    best = [array.reshape(len(array), -1).argmax(axis=1) for array in (expected, found)]
    return int((best[0] == best[1]).sum())
