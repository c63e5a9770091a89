"""How large the elements of stored tensors are, octave by octave, beside the exponent window of their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.numerics.format import MAX_MANTISSA_BITS, BfpFormat, BfpTensor
from bfpc.runtime.devices import StoredMaps

LENGTHS = np.array([number.bit_length() for number in range((1 << MAX_MANTISSA_BITS) + 1)], np.uint8)


@dataclass(frozen=True)
class Octaves:
    """counts[k]: elements from 2**(format.exponent + k - 1) to below 2**(format.exponent + k); counts[0] are zeros.

    blocks[u]: blocks with the exponent offset u. saturated: elements with the largest mantissa there is
    at the end of the window.
    """

    format: BfpFormat
    counts: NDArray[np.int64]
    blocks: NDArray[np.int64]
    saturated: int

    def __add__(self, other: Octaves) -> Octaves:
        return Octaves(
            self.format, self.counts + other.counts, self.blocks + other.blocks, self.saturated + other.saturated
        )

    @property
    def zeros(self) -> float:
        """The share of elements that are zero."""
        return float(self.counts[0] / self.counts.sum())

    @property
    def saturation(self) -> float:
        """The share of elements that are the largest number of the format, or its negative."""
        return float(self.saturated / self.counts.sum())

    @property
    def top(self) -> int:
        """All numbers of the format lie below 2**top."""
        return self.format.exponent + self.format.magnitude_bits + self.format.exponent_range


def count_octaves(tensor: BfpTensor) -> Octaves:
    """Counts weights, or maps [batch, channels, height, width] with offsets [batch, blocks, height, width]."""
    format, mantissas = tensor.format, tensor.mantissas
    if tensor.offsets.ndim == 1:
        offsets = tensor.offsets[:, None, None, None]
    else:
        offsets = np.repeat(tensor.offsets, format.block_size, axis=1)[:, : mantissas.shape[1]]
    sizes = np.abs(mantissas.astype(np.int16))
    lengths = LENGTHS[sizes]
    octaves = np.where(lengths > 0, lengths + offsets, 0)
    at_end = np.broadcast_to(offsets, sizes.shape) == format.exponent_range
    return Octaves(
        format,
        np.bincount(octaves.ravel(), minlength=format.magnitude_bits + format.exponent_range + 2),
        np.bincount(tensor.offsets.ravel(), minlength=format.exponent_range + 1),
        int(np.count_nonzero(at_end & (sizes >= format.max_mantissa))),
    )


class MapOctaves:
    """The octaves of a network's maps, over all batches that `add` is called with."""

    def __init__(self) -> None:
        self.found: dict[str, Octaves] = {}

    def add(self, maps: StoredMaps) -> None:
        for name, tensor in maps.items():
            counted = count_octaves(tensor)
            self.found[name] = self.found[name] + counted if name in self.found else counted


def weight_octaves(weights: Mapping[str, BfpTensor]) -> dict[str, Octaves]:
    """The octaves of layers' weights, by layer."""
    return {name: count_octaves(tensor) for name, tensor in weights.items()}
