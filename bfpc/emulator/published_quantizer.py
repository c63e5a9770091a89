"""The published format: FP16 maps, and blocks of sign-magnitude mantissas that share a 5-bit exponent.

A block holds mantissas of one sign and `magnitude_bits` magnitude bits, and the exponent of FP16, -14 to 15, of its
largest element; an element is worth `mantissa * 2**(exponent - magnitude_bits + 1)`. Source: Abra et al., ICFPT 2021.
What that leaves open is decided here:

- FP16 rounds to nearest, ties to even, and keeps subnormal numbers. What lies above its range saturates.
- The half-up step rounds each element to `magnitude_bits` significant bits at its own exponent, which it may raise; at
  the exponent 15 it stays all-ones. Below -14 it rounds to the last place of the exponent -14.
- Aligning rounds the result once more, where an element's exponent lies below the block's. It can't pass all-ones:
  what is shifted is all-ones at most.
- Truncation drops bits of the magnitude, from FP16 to the block's last place at once.
- Weights have no FP16 step and the block's exponent comes from its largest weight before rounding: to nearest, ties to
  even, and all-ones where that would carry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.config_sections import BlockFormat
from bfpc.emulator.lowering import pad_to, take_channels, whole_blocks
from bfpc.emulator.onnx_builder import FLOAT32, OnnxBuilder, Tensor
from bfpc.emulator.quantizer import power_of_two, rounded

FLOAT16 = np.dtype(np.float16)
MAX_FLOAT16 = 65504.0
MIN_EXPONENT, MAX_EXPONENT = -14, 15
ABOVE_HALF = 1 + 2.0**-12  # moves a tie of FP16 numbers above it, and nothing across one


@dataclass(frozen=True)
class PublishedFormat:
    """magnitude_bits: of a mantissa, without its sign, 1 to 11. block_size: input channels that share an exponent."""

    magnitude_bits: int
    block_size: int

    @staticmethod
    def of(format: BlockFormat) -> PublishedFormat:
        """A sign and the other bits; the config's exponent range has no part in it."""
        return PublishedFormat(format.mantissa_bits - 1, format.block_size)

    @property
    def max_mantissa(self) -> int:
        return (1 << self.magnitude_bits) - 1

    @property
    def largest(self) -> float:
        """The largest value: all-ones at the largest exponent."""
        return self.max_mantissa * 2.0 ** (MAX_EXPONENT + 1 - self.magnitude_bits)


def lower_float16(builder: OnnxBuilder, x: Tensor) -> Tensor:
    """x, float32, as FP16 stores it, in float32 again."""
    x = builder.call("Clip", x, builder.number(-MAX_FLOAT16, x), builder.number(MAX_FLOAT16, x))
    return builder.cast(builder.cast(x, FLOAT16), FLOAT32)


def lower_published(
    builder: OnnxBuilder, x: Tensor, shape: tuple[int, int, int], format: PublishedFormat, *, truncate: bool
) -> Tensor:
    """x [batch, *shape], FP16 numbers in float32, to values of the format; shape: (channels, height, width)."""
    channels, height, width = shape
    padded = pad_to(channels, format.block_size)
    x = whole_blocks(builder, x, channels, format.block_size)
    blocks = (padded // format.block_size, format.block_size, height * width)
    x = builder.call("Reshape", x, builder.integers(0, *blocks))
    x = _truncated(builder, x, format) if truncate else _aligned(builder, _half_up(builder, x, format), format)
    x = builder.call("Reshape", x, builder.integers(0, padded, height, width))
    return x if padded == channels else take_channels(builder, x, 0, channels)


def _lsb(builder: OnnxBuilder, magnitude: Tensor, format: PublishedFormat) -> Tensor:
    """What the last place weighs at the exponent of `magnitude`."""
    smallest = builder.number(2.0**MIN_EXPONENT, magnitude)
    return power_of_two(builder, builder.call("Max", magnitude, smallest), 1 - format.magnitude_bits)


def _block_lsb(builder: OnnxBuilder, x: Tensor, format: PublishedFormat) -> Tensor:
    return _lsb(builder, builder.reduce("ReduceMax", builder.call("Abs", x), 2), format)


def _half_up(builder: OnnxBuilder, x: Tensor, format: PublishedFormat) -> Tensor:
    lsb = _lsb(builder, builder.call("Abs", x), format)
    x = rounded(builder, builder.call("Mul", x, builder.number(ABOVE_HALF, x)), lsb)
    return builder.call("Clip", x, builder.number(-format.largest, x), builder.number(format.largest, x))


def _aligned(builder: OnnxBuilder, x: Tensor, format: PublishedFormat) -> Tensor:
    return rounded(builder, x, _block_lsb(builder, x, format))


def _truncated(builder: OnnxBuilder, x: Tensor, format: PublishedFormat) -> Tensor:
    lsb = _block_lsb(builder, x, format)
    magnitude = builder.call("Floor", builder.call("Div", builder.call("Abs", x), lsb))
    return builder.call("Mul", builder.call("Mul", magnitude, lsb), builder.call("Sign", x))


def published_weights(weight: NDArray[np.float32], format: PublishedFormat) -> NDArray[np.float32]:
    """Weights [output channels, input channels, kernel height, kernel width] rounded once, as real values.

    Blocks run along the input channels, at one output channel and one tap.
    """
    outputs, inputs, *taps = weight.shape
    missing = -inputs % format.block_size
    padded = np.pad(weight, ((0, 0), (0, missing), (0, 0), (0, 0)))
    blocks = padded.reshape(outputs, -1, format.block_size, *taps)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    exponent = np.clip(np.frexp(largest)[1] - 1, MIN_EXPONENT, MAX_EXPONENT)
    lsb = np.ldexp(np.float32(1), exponent + 1 - format.magnitude_bits)
    mantissas = np.clip(np.rint(blocks / lsb), -format.max_mantissa, format.max_mantissa)
    return np.asarray((mantissas * lsb).reshape(padded.shape)[:, :inputs], np.float32)
