"""One layer computed and stored the slow, obvious way: what the C simulation is held against.

Written from the arithmetic contract and the memory layouts alone, in integers, bit strings and loops over elements. It
shares the operators, the formats and the program's fields with the compiler, and no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import LayerProgram
from bfpc.ir.operators import Clip, Conv, Depthwise, Pads, Pass, PRelu, Window, window_output_size
from bfpc.numerics.format import BfpFormat

Integers = NDArray[np.int64]
Fields = Iterable[tuple[int, int]]  # (value, bits)


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor in BFP: mantissas [C, H, W] and offsets [blocks, H, W]."""

    format: BfpFormat
    mantissas: Integers
    offsets: Integers

    @property
    def aligned(self) -> Integers:
        """`M << u`, in units of the base exponent."""
        channels = self.mantissas.shape[0]
        return self.mantissas << np.repeat(self.offsets, self.format.block_size, axis=0)[:channels]


@dataclass(frozen=True, eq=False)
class LayerCase:
    """One layer with all its integers.

    Dense weights are [K, C, kh, kw] with offsets [K, blocks, kh, kw], depthwise ones [C, kh, kw] with offsets [C].
    """

    op: Conv | Depthwise | Pass
    x: Stored
    output: BfpFormat
    weight_format: BfpFormat
    weights: Integers
    weight_offsets: Integers
    bias: Integers
    bias_bits: int
    slope: Integers
    residual: Stored | None = None
    accumulator_shift: int = 0
    residual_shift: int = 0
    clip: tuple[int, int] = (0, 2**62)
    reciprocal_shift: int = 16
    output_exponent_shift: int = 0
    tile: tuple[int, int] = (1, 1)


# The arithmetic.


def accumulators(case: LayerCase) -> Integers:
    """What the array makes of the layer's input: [K, array height, array width]."""
    op, x = case.op, padded(case.x.aligned, case.op.pads)
    span = tuple((size - 1) * dilation + 1 for size, dilation in zip(op.kernel, op.dilation, strict=True))
    height, width = ((size - s) // stride + 1 for size, s, stride in zip(x.shape[1:], span, op.stride, strict=True))
    sums = np.zeros((case.bias.size, height, width), np.int64)
    for row in range(height):
        for column in range(width):
            top, left = row * op.stride[0], column * op.stride[1]
            window = x[:, top : top + span[0] : op.dilation[0], left : left + span[1] : op.dilation[1]]
            sums[:, row, column] = _products(case, window)
    return sums


def _products(case: LayerCase, window: Integers) -> Integers:
    products: Integers
    match case.op:
        case Conv():
            block = case.weight_format.block_size
            offsets = np.repeat(case.weight_offsets, block, axis=1)[:, : window.shape[0]]
            products = np.sum((case.weights << offsets) * window, axis=(1, 2, 3))
        case Depthwise():
            products = np.sum(case.weights * window, axis=(1, 2)) << case.weight_offsets
        case Pass():
            products = window[:, 0, 0]
    return products


def padded(x: Integers, pads: Pads) -> Integers:
    top, left, bottom, right = pads
    grown = np.pad(x, ((0, 0), *((max(a, 0), max(b, 0)) for a, b in ((top, bottom), (left, right)))))
    height, width = grown.shape[1:]
    return grown[:, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]


def tail(case: LayerCase) -> Integers:
    """The layer's output before it is quantized."""
    t = (accumulators(case) + case.bias[:, None, None]) << case.accumulator_shift
    if case.residual is not None:
        t += case.residual.aligned << case.residual_shift
    match case.op.tail.activation:
        case Clip():
            t = np.clip(t, *case.clip)
        case PRelu():
            t = np.where(t >= 0, t * 256, t * case.slope[:, None, None])
    return t if case.op.tail.pool is None else _pool(t, case.op.tail.pool, case.reciprocal_shift)


def _pool(t: Integers, pool: Window, shift: int) -> Integers:
    channels, height, width = t.shape
    pooled = np.zeros((channels, *pool.output_size((height, width))), np.int64)
    for row, column in np.ndindex(pooled.shape[1:]):
        top, left = row * pool.stride[0] - pool.pads[0], column * pool.stride[1] - pool.pads[1]
        bottom, right = top + pool.kernel[0], left + pool.kernel[1]
        window = t[:, max(top, 0) : bottom, max(left, 0) : right].reshape(channels, -1)
        count = window.shape[1]
        if pool.count_padding:
            count = (min(bottom, height + pool.pads[2]) - top) * (min(right, width + pool.pads[3]) - left)
        reciprocal = (2**shift + count // 2) // count
        pooled[:, row, column] = window.max(axis=1) if pool.kind == "max" else window.sum(axis=1) * reciprocal
    return pooled


def quantize(t: Integers, target: BfpFormat, exponent_shift: int) -> Stored:
    """Blocks of `t`, whose LSB weighs 2**-exponent_shift base exponents of `target`."""
    size = target.block_size
    mantissas = np.zeros_like(t)
    offsets = np.zeros((-(-t.shape[0] // size), *t.shape[1:]), np.int64)
    for block, row, column in np.ndindex(offsets.shape):
        values = [int(value) for value in t[block * size : (block + 1) * size, row, column]]
        length = max((value if value >= 0 else ~value).bit_length() for value in values)
        offset = min(max(length - target.magnitude_bits - exponent_shift, 0), target.exponent_range)
        shift = offset + exponent_shift
        for i, value in enumerate(values):
            rounded = _round_half_even(value, shift) if shift > 0 else value << -shift
            mantissas[block * size + i, row, column] = min(max(rounded, target.min_mantissa), target.max_mantissa)
        offsets[block, row, column] = offset
    return Stored(target, mantissas, offsets)


def _round_half_even(value: int, shift: int) -> int:
    below, remainder = divmod(value, 1 << shift)
    half = 1 << (shift - 1)
    return below + (remainder > half or (remainder == half and below % 2 == 1))


# The memories.


def to_words(stream: Fields) -> NDArray[np.uint64]:
    """Bit fields one after the other, the first in the lowest bits, padded to whole words of 64 bits."""
    bits = "".join(format(value & ((1 << width) - 1), f"0{width}b")[::-1] for value, width in stream if width)
    bits = bits.ljust(-(-len(bits) // 64) * 64, "0")
    words = [int(bits[start : start + 64][::-1], 2) for start in range(0, len(bits), 64)]
    return np.array(words, np.uint64)


def feature_words(x: Stored, group: int) -> NDArray[np.uint64]:
    """A tensor as the feature memory holds it: planes of channel groups, rows padded to whole words."""
    channels, height, _ = x.mantissas.shape
    rows = [
        to_words(_row_fields(x, row, range(start, min(start + group, channels))))
        for start in range(0, channels, group)
        for row in range(height)
    ]
    return np.concatenate(rows)


def _row_fields(x: Stored, row: int, channels: range) -> Iterator[tuple[int, int]]:
    size = x.format.block_size
    for column in range(x.mantissas.shape[2]):
        for start in channels[::size]:
            yield int(x.offsets[start // size, row, column]), x.format.exponent_bits
            for channel in range(start, start + size):
                mantissa = x.mantissas[channel, row, column] if channel < x.mantissas.shape[0] else 0
                yield int(mantissa), x.format.mantissa_bits


def weight_tiles(case: LayerCase, architecture: Architecture) -> list[list[tuple[int, int]]]:
    """The fields of the weight memory, one list per channel tile."""
    tiles = []
    for start in range(0, case.bias.size, architecture.k_vec):
        channels = range(start, min(start + architecture.k_vec, case.bias.size))
        tile = [(int(case.bias[k]), case.bias_bits) for k in channels]
        if isinstance(case.op.tail.activation, PRelu):
            tile += [(int(case.slope[k]), 16) for k in channels]
        if isinstance(case.op, Conv):
            tile += _dense_fields(case, channels, architecture.c_vec)
        elif isinstance(case.op, Depthwise):
            tile += _depthwise_fields(case, channels)
        tiles.append(tile)
    return tiles


def _dense_fields(case: LayerCase, channels: range, c_vec: int) -> Iterator[tuple[int, int]]:
    weight, size, inputs = case.weight_format, case.weight_format.block_size, case.weights.shape[1]
    for vector in range(0, inputs, c_vec):
        for ky, kx in np.ndindex(case.op.kernel):
            for k in channels:
                for c in range(vector, min(vector + c_vec, inputs)):
                    if c % size == 0:
                        yield int(case.weight_offsets[k, c // size, ky, kx]), weight.exponent_bits
                    yield int(case.weights[k, c, ky, kx]), weight.mantissa_bits


def _depthwise_fields(case: LayerCase, channels: range) -> Iterator[tuple[int, int]]:
    yield from ((int(case.weight_offsets[k]), case.weight_format.exponent_bits) for k in channels)
    for ky, kx in np.ndindex(case.op.kernel):
        yield from ((int(case.weights[k, ky, kx]), case.weight_format.mantissa_bits) for k in channels)


# The program.


def layer_program(case: LayerCase, architecture: Architecture) -> LayerProgram:
    """The case as the only layer of a program: its input at address 0, then the residual, then the output."""
    op, pool = case.op, case.op.tail.pool
    channels, height, width = case.x.mantissas.shape
    array = window_output_size((height, width), op.kernel, op.stride, op.pads, op.dilation)
    output = array if pool is None else pool.output_size(array)
    group, outputs = architecture.k_vec, case.bias.size
    residual_address = feature_words(case.x, group).size
    output_address = residual_address + (0 if case.residual is None else feature_words(case.residual, group).size)
    empty = LayerProgram(**{field.name: 0 for field in fields(LayerProgram)})
    return replace(
        empty,
        array_mode=(Conv, Depthwise, Pass).index(type(op)),
        **_tensor_fields("input", case.x.format),
        input_channels=channels,
        input_height=height,
        input_width=width,
        vectors=-(-channels // architecture.c_vec),
        **_pair("kernel", op.kernel, ("height", "width")),
        **_pair("stride", op.stride),
        **_pair("dilation", op.dilation),
        pad_top=op.pads[0],
        pad_left=op.pads[1],
        **_pair("array", array, ("height", "width")),
        output_channels=outputs,
        channel_tiles=-(-outputs // group),
        **_pair("tile", case.tile, ("height", "width")),
        tiles_vertical=-(-output[0] // case.tile[0]),
        tiles_horizontal=-(-output[1] // case.tile[1]),
        weight_mantissa_bits=case.weight_format.mantissa_bits,
        weight_exponent_bits=case.weight_format.exponent_bits,
        weight_block_size=case.weight_format.block_size,
        bias_bits=case.bias_bits,
        accumulator_shift=case.accumulator_shift,
        **({} if case.residual is None else _tensor_fields("residual", case.residual.format)),
        residual=int(case.residual is not None),
        residual_address=residual_address,
        residual_shift=case.residual_shift,
        activation=(type(None), Clip, PRelu).index(type(op.tail.activation)),
        clip_low=case.clip[0],
        clip_high=case.clip[1],
        **_pool_fields(pool),
        reciprocal_shift=case.reciprocal_shift,
        **_tensor_fields("output", case.output),
        output_address=output_address,
        **_pair("output", output, ("height", "width")),
        output_exponent_range=case.output.exponent_range,
        output_exponent_shift=case.output_exponent_shift,
    )


def _pair(name: str, pair: tuple[int, int], axes: tuple[str, str] = ("vertical", "horizontal")) -> dict[str, int]:
    return {f"{name}_{axis}": size for axis, size in zip(axes, pair, strict=True)}


def _tensor_fields(name: str, stored: BfpFormat) -> dict[str, int]:
    return {
        f"{name}_mantissa_bits": stored.mantissa_bits,
        f"{name}_signed": int(stored.signed),
        f"{name}_exponent_bits": stored.exponent_bits,
        f"{name}_block_size": stored.block_size,
    }


def _pool_fields(pool: Window | None) -> dict[str, int]:
    if pool is None:
        return {}
    sides = zip(("top", "left", "bottom", "right"), pool.pads, strict=True)
    return {
        "pool": ("none", "max", "average").index(pool.kind),
        **_pair("pool", pool.kernel, ("height", "width")),
        **_pair("pool_stride", pool.stride),
        **{f"pool_pad_{side}": pad for side, pad in sides},
        "pool_count_padding": int(pool.count_padding),
    }
