"""Block floating point formats and tensors.

A tensor in BFP stores integer mantissas `M`, one unsigned exponent offset `u` per block of channels, and one base
exponent `e` for the whole tensor. An element's value is `M * 2**(e + u)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MIN_MANTISSA_BITS, MAX_MANTISSA_BITS = 2, 12
BLOCK_SIZES = (4, 8, 16, 32, 64)
MAX_EXPONENT_RANGE = 31


@dataclass(frozen=True)
class BfpFormat:
    """How one tensor is stored.

    mantissa_bits: width of a mantissa, 2 to 12, the sign included if `signed`.
    block_size: consecutive channels that share an exponent (for depthwise weights the taps of a channel share it, and
        `block_size` is the number of taps).
    exponent_range: octaves of the exponent window; offsets run from 0 to this.
    signed: two's complement if true, else the tensor is proved non-negative.
    exponent: the base exponent `e`.
    """

    mantissa_bits: int
    block_size: int
    exponent_range: int
    signed: bool = True
    exponent: int = 0

    @property
    def magnitude_bits(self) -> int:
        """Bits of the mantissa without its sign (`mag` in the arithmetic specification)."""
        return self.mantissa_bits - self.signed

    @property
    def exponent_bits(self) -> int:
        """Bits that store one exponent offset."""
        return self.exponent_range.bit_length()

    @property
    def min_mantissa(self) -> int:
        return -(1 << self.magnitude_bits) if self.signed else 0

    @property
    def max_mantissa(self) -> int:
        return (1 << self.magnitude_bits) - 1

    @property
    def max_aligned(self) -> int:
        """The largest magnitude of `M << u`, in units of `2**exponent`."""
        return max(-self.min_mantissa, self.max_mantissa) << self.exponent_range

    def with_top(self, top: int) -> BfpFormat:
        """The same format with its window moved so that magnitudes below `2**top` do not saturate."""
        return replace(self, exponent=top - self.magnitude_bits - self.exponent_range)

    def __str__(self) -> str:
        sign = "int" if self.signed else "uint"
        return f"{sign}{self.mantissa_bits}bfp/{self.block_size}"


@dataclass(frozen=True, eq=False)
class BfpTensor:
    """A constant in BFP.

    mantissas: integers; for convolution weights [output channels, input channels, kernel height, kernel width].
    offsets: one per block; dense weights [output channels, blocks, kernel height, kernel width], depthwise weights
        [channels].
    """

    format: BfpFormat
    mantissas: NDArray[np.int16]
    offsets: NDArray[np.uint8]

    @property
    def aligned(self) -> NDArray[np.int64]:
        """`M << u`: the elements in units of `2**format.exponent`."""
        if self.offsets.ndim == 1:
            offsets = self.offsets[:, None, None, None]
        else:
            offsets = np.repeat(self.offsets, self.format.block_size, axis=1)[:, : self.mantissas.shape[1]]
        return self.mantissas.astype(np.int64) << offsets.astype(np.int64)

    @property
    def real(self) -> NDArray[np.float64]:
        """The elements as real numbers."""
        return np.ldexp(self.aligned.astype(np.float64), self.format.exponent)
