"""The quantizer: real or integer blocks to mantissas and shared exponents.

A block's exponent is the smallest that holds its largest element, where a negative power of two counts as one LSB
less (two's complement holds -2**mag). Elements are rounded to nearest, ties to even, and saturate. Quantizing twice
changes no value, though -2**k may be stored as -1 times 2**k or as -2 times 2**(k - 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bfpc.numerics.format import BfpFormat

ChooseOffsets = Callable[[NDArray[np.float32], BfpFormat], NDArray[np.uint8]]
CHUNK_COLUMNS = 1 << 14  # keeps the planes of a block in the level-2 cache


def quantize(x: NDArray[np.floating], format: BfpFormat) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Real feature maps to BFP.

    x: [batch, channels, height, width], finite. Returns mantissas of the same shape and offsets [batch, blocks,
    height, width]. Infinities saturate; a NaN makes its block meaningless.
    """
    batch, channels, height, width = x.shape
    blocks = -(-channels // format.block_size)
    planes = np.ascontiguousarray(x, dtype=np.float32).reshape(batch, channels, height * width)
    mantissas = np.empty(planes.shape, np.int16)
    offsets = np.empty((batch, blocks, height * width), np.uint8)
    for image in range(batch):
        for block in range(blocks):
            rows = slice(block * format.block_size, (block + 1) * format.block_size)
            _quantize_into(mantissas[image, rows], offsets[image, block], planes[image, rows], format, block_offsets)
    return mantissas.reshape(x.shape), offsets.reshape(batch, blocks, height, width)


def _quantize_into(
    mantissas: NDArray[np.int16],
    offsets: NDArray[np.uint8],
    planes: NDArray[np.float32],
    format: BfpFormat,
    choose_offsets: ChooseOffsets,
) -> None:
    """Quantizes planes [block, columns] into `mantissas` of the same shape and `offsets` [columns], chunk by chunk."""
    for start in range(0, planes.shape[1], CHUNK_COLUMNS):
        columns = slice(start, start + CHUNK_COLUMNS)
        offsets[columns] = choose_offsets(planes[:, columns], format)
        mantissas[:, columns] = round_planes(planes[:, columns], offsets[columns], format)


def quantize_planes(x: NDArray[np.float32], format: BfpFormat) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One block a column: x [block, columns] to integer-valued mantissas of the same shape and offsets [columns]."""
    offsets = block_offsets(x, format)
    return round_planes(x, offsets, format), offsets


def block_offsets(x: NDArray[np.float32], format: BfpFormat) -> NDArray[np.uint8]:
    """The smallest exponent offset that holds the largest element of each column [block, columns], or the window's end.

    The sizes of floats compare like their bit patterns, so it comes from an integer maximum.
    """
    pattern = (x + np.float32(0)).view(np.int32)  # + 0 turns -0 into 0
    # A negative number counts as the next smaller float, so that -2**k needs no more bits than what lies below it.
    size = (pattern & 0x7FFFFFFF) + (pattern >> 31)
    length = (size.max(axis=0) >> 23) - 126  # of the largest element: it lies below 2**length
    offsets = np.clip(length - (format.magnitude_bits + format.exponent), 0, format.exponent_range)
    return np.asarray(offsets, np.uint8)


def least_error_offsets(x: NDArray[np.float32], format: BfpFormat) -> NDArray[np.uint8]:
    """`block_offsets`, or one less where the elements that saturate lose less than the others gain.

    Only for weights: the hardware's quantizer knows but the rule of the largest element.
    """
    offsets = block_offsets(x, format)
    lower = np.maximum(offsets, 1) - np.uint8(1)
    errors = [
        np.square(round_planes(x, tried, format) * _step(tried, format) - x).sum(axis=0) for tried in (offsets, lower)
    ]
    return np.where(errors[1] < errors[0], lower, offsets)


def round_planes(x: NDArray[np.float32], offsets: NDArray[np.uint8], format: BfpFormat) -> NDArray[np.float32]:
    """Integer-valued mantissas of x [block, columns], whose columns have these offsets."""
    with np.errstate(over="ignore"):  # what becomes infinite saturates
        mantissas = np.rint(x * (1 / _step(offsets, format)))
    np.clip(mantissas, format.min_mantissa, format.max_mantissa, out=mantissas)
    return mantissas


def _step(offsets: NDArray[np.uint8], format: BfpFormat) -> NDArray[np.float32]:
    """What a mantissa of 1 is worth."""
    return np.ldexp(np.float32(1), offsets.astype(np.int32) + format.exponent)


def quantize_integers(
    t: NDArray[np.int64], exponent: int, format: BfpFormat
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hardware's quantizer, step by step: integers whose LSB weighs `2**exponent` to BFP.

    t: [channels, ...]. Returns mantissas of the same shape and offsets [blocks, ...].
    """
    channels = t.shape[0]
    blocks = -(-channels // format.block_size)
    padded = np.zeros((blocks * format.block_size, *t.shape[1:]), np.int64)
    padded[:channels] = t
    x = padded.reshape(blocks, format.block_size, *t.shape[1:])
    length = bit_length(np.bitwise_or.reduce(x ^ (x >> 63), axis=1))
    base = format.exponent - exponent
    offset = np.clip(length - format.magnitude_bits - base, 0, format.exponent_range)
    shift = (offset + base)[:, None]
    right = np.maximum(shift, 0)
    half = np.where(right > 0, (np.int64(1) << np.maximum(right - 1, 0)) - 1 + ((x >> right) & 1), 0)
    rounded = np.where(shift > 0, (x + half) >> right, x << np.maximum(-shift, 0))
    mantissas = np.clip(rounded, format.min_mantissa, format.max_mantissa)
    return mantissas.reshape(padded.shape)[:channels], offset


def bit_length(v: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits needed for each non-negative integer below 2**53."""
    return np.frexp(v.astype(np.float64))[1].astype(np.int64)


def dequantize(mantissas: NDArray[np.integer], offsets: NDArray[np.integer], format: BfpFormat) -> NDArray[np.float32]:
    """The real values of [batch, channels, height, width] mantissas with offsets [batch, blocks, height, width]."""
    scale = np.ldexp(np.float32(1), offsets.astype(np.int32) + format.exponent)
    scale = np.repeat(scale, format.block_size, axis=1)[:, : mantissas.shape[1]]
    return mantissas.astype(np.float32) * scale


def quantize_weights(
    weight: NDArray[np.float32], format: BfpFormat, choose_offsets: ChooseOffsets | None = None
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Dense weights [output channels, input channels, kernel height, kernel width], blocks along input channels.

    The same as `quantize`, for many maps of few positions. Offsets are [output channels, blocks, kernel height, width].
    """
    outputs, inputs, height, width = weight.shape
    blocks = -(-inputs // format.block_size)
    padded = np.pad(weight, ((0, 0), (0, blocks * format.block_size - inputs), (0, 0), (0, 0)))
    split = padded.reshape(outputs * blocks, format.block_size, height * width)
    planes = np.ascontiguousarray(split.transpose(1, 0, 2)).reshape(format.block_size, -1)
    mantissas, offsets = np.empty(planes.shape, np.int16), np.empty(planes.shape[1], np.uint8)
    _quantize_into(mantissas, offsets, planes, format, choose_offsets or block_offsets)
    split_mantissas = mantissas.reshape(format.block_size, outputs * blocks, height * width).transpose(1, 0, 2)
    return (
        np.ascontiguousarray(split_mantissas.reshape(padded.shape)[:, :inputs]),
        offsets.reshape(outputs, blocks, height, width),
    )


def quantize_depthwise(
    weight: NDArray[np.float32], format: BfpFormat, choose_offsets: ChooseOffsets | None = None
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Depthwise weights [channels, 1, kernel height, kernel width], one exponent for a channel's taps."""
    channels = weight.shape[0]
    planes = weight.reshape(channels, -1).T
    offsets = (choose_offsets or block_offsets)(planes, format)
    return round_planes(planes, offsets, format).T.reshape(weight.shape).astype(np.int16), offsets
