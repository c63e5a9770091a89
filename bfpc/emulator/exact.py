"""Integer arithmetic in floating point, exactly.

A float32 product-sum of integers is exact, in any order, while every partial sum stays within 2**24; float64 while
it stays within 2**53. Numbers here are real values, integers times a power of two, for which the same holds.

Where a layer's bound exceeds 2**24, activations and weights are split into digits and input channels into chunks,
such that each partial convolution fits float32; the parts are added in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FLOAT32_LIMIT = 1 << 24
CHUNK_COST = 0.1  # of slicing, casting and adding one more part, against one whole convolution
CHUNK_MULTIPLE = 16  # channels that fast convolutions take at once


@dataclass(frozen=True)
class Digits:
    """A number as a sum of `count` digits, digit k a multiple of `2**(k * width)`."""

    count: int
    width: int
    bound: int  # the largest magnitude of a digit, in units of its own place

    @staticmethod
    def of(bound: int, count: int) -> Digits:
        """Digits that hold every integer of magnitude up to `bound`."""
        if count == 1:
            return Digits(1, 0, bound)
        width = -(-bound.bit_length() // count)
        return Digits(count, width, max(1 << (width - 1), (bound >> (width * (count - 1))) + 1))

    def split(self, numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The digits of `numbers`, lowest first, each in units of its own place."""
        parts, rest = [], numbers
        for _ in range(self.count - 1):
            high = (rest + (1 << (self.width - 1))) >> self.width
            parts.append(rest - (high << self.width))
            rest = high
        return [*parts, rest]


@dataclass(frozen=True)
class Split:
    """How a convolution is cut: digits of the activations and of the weights, and chunks of input channels."""

    activations: Digits
    weights: Digits
    chunks: tuple[slice, ...]

    @property
    def parts(self) -> int:
        return self.activations.count * self.weights.count * len(self.chunks)

    @property
    def cost(self) -> float:
        return self.activations.count * self.weights.count + CHUNK_COST * self.parts


def split_convolution(weights: NDArray[np.int64], activation_bound: int, *, signed: bool) -> Split:
    """The cheapest split whose every partial sum fits a float32.

    weights: aligned integers [output channels, input channels, taps]; activation_bound: the largest magnitude of an
    aligned activation; signed: whether activations can be negative.
    """
    weight_bound = int(np.abs(weights).max(initial=1))
    best: Split | None = None
    for weight_digits in (1, 2, 3):
        if best is not None and best.cost <= weight_digits:
            break
        parts = Digits.of(weight_bound, weight_digits)
        sides = _one_signed_sums([_in_own_units(weights)] if weight_digits == 1 else parts.split(weights))
        for activation_digits in (1, 2, 3):
            if best is not None and best.cost <= activation_digits * weight_digits:
                break
            activations = Digits.of(activation_bound, activation_digits)
            # Activations of one sign make products of two signs, whose sums do not add up.
            sums = np.concatenate(sides) if activation_digits == 1 and not signed else sides[0] + sides[1]
            chunks = _chunks(sums, FLOAT32_LIMIT // activations.bound)
            if chunks and (best is None or Split(activations, parts, chunks).cost < best.cost):
                best = Split(activations, parts, chunks)
    assert best is not None, "three digits of each fit any format"
    return best


def _in_own_units(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each output channel in units of the largest power of two that divides all of its weights: so are its sums."""
    bits = np.bitwise_or.reduce(weights.reshape(len(weights), -1), axis=1)
    units = np.where(bits == 0, 1, bits & -bits)
    return weights // units[:, np.newaxis, np.newaxis]


def _one_signed_sums(parts: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positive and the negative weights' magnitudes, summed over taps [parts * output channels, input channels]."""
    positive = np.concatenate([np.maximum(part, 0).sum(axis=2) for part in parts])
    total = np.concatenate([part.sum(axis=2) for part in parts])
    return positive, positive - total


def _chunks(sums: NDArray[np.int64], budget: int) -> tuple[slice, ...]:
    """Equal runs of input channels, about as few as keep every sum within the budget; none where that can't be.

    sums: magnitudes of the weights [sums, input channels].
    """
    channels = sums.shape[1]
    if int(sums.max(initial=0)) > budget:
        return ()
    running = np.concatenate([np.zeros((len(sums), 1), np.int64), sums.cumsum(axis=1)], axis=1)
    count = max(1, -(-int(running[:, -1].max()) // budget))
    while count <= channels:
        length = -(-channels // count)
        if length > CHUNK_MULTIPLE:
            length = -(-length // CHUNK_MULTIPLE) * CHUNK_MULTIPLE
        bounds = [*range(0, channels, length), channels]
        if int(np.diff(running[:, bounds], axis=1).max()) <= budget:
            return tuple(slice(start, stop) for start, stop in pairwise(bounds))
        count += 1 + count // 8  # one more while they are few
    return tuple(slice(channel, channel + 1) for channel in range(channels))
