"""One layer computed and stored the slow, obvious way: what the C simulation is held against.

Written from the arithmetic contract and the memory layouts alone, in integers, bit strings and loops over elements. It
shares the operators, the formats and the program's fields with the compiler, and no code but which filters slide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import LayerProgram
from bfpc.ir.operators import (
    Activation,
    Clip,
    Conv,
    Depthwise,
    Pass,
    PositionScale,
    PRelu,
    Table,
    Window,
    slides_windows,
    window_output_size,
)
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
    A residual of one position meets every position; a table has 4096 entries. All spatial tiles pass for each of
    `channel_parts` of the output channels.
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
    channel_parts: int = 1
    keeps_weights: bool = False
    pad_value: int = 0
    table: Integers | None = None
    table_shift: int = 0
    table_offset: int = 0


# The arithmetic.


def accumulators(case: LayerCase) -> Integers:
    """What the array makes of the layer's input: [K, array height, array width]."""
    channels, *size = case.x.mantissas.shape
    rows, columns = (_positions(case.op, axis, size[axis]) for axis in (0, 1))
    extended = np.full((channels, size[0] + 2, size[1] + 2), case.pad_value)  # indices BEYOND reach what is added
    extended[:, INSERTED, :] = extended[:, :, INSERTED] = 0
    extended[:, : size[0], : size[1]] = case.x.aligned
    sums = np.zeros((case.bias.size, len(rows), len(columns)), np.int64)
    for row, column in np.ndindex(sums.shape[1:]):
        sums[:, row, column] = _products(case, extended[:, rows[row]][:, :, columns[column]])
    return sums


INSERTED, BEYOND = -2, -1  # instead of an index: a zero between positions of a dilated map, and beyond the map


def _positions(op: Conv | Depthwise | Pass, axis: int, size: int) -> list[list[int]]:
    """For every position of the array, the index along the input's axis that each tap sees."""
    count = array_size(op, (size, size))[axis]
    places = [[o * op.stride[axis] - op.pads[axis] + k * op.dilation[axis] for k in range(op.kernel[axis])]
              for o in range(count)]  # fmt: skip
    return [[_index(op, place, op.input_dilation[axis], size) for place in taps] for taps in places]


def _index(op: Conv | Depthwise | Pass, place: int, input_dilation: int, size: int) -> int:
    index, between = divmod(place, input_dilation)
    if between:
        return INSERTED
    if op.pad_mode == "edge":
        return min(max(index, 0), size - 1)
    if op.pad_mode == "reflect":
        return size - 1 - abs(size - 1 - abs(index))
    return index if 0 <= index < size else BEYOND


def array_size(op: Conv | Depthwise | Pass, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a layer's accumulators."""
    height, width = ((extent - 1) * step + 1 for extent, step in zip(size, op.input_dilation, strict=True))
    return window_output_size((height, width), op.kernel, op.stride, op.pads, op.dilation)


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
            products = np.sum(window, axis=(1, 2))
    return products


def tail(case: LayerCase) -> Integers:
    """The layer's output before it is quantized."""
    t = (accumulators(case) + case.bias[:, None, None]) << case.accumulator_shift
    if case.residual is not None:
        t = _join(case.op.tail.residual, t, case.residual.aligned << case.residual_shift)
    match case.op.tail.activation:
        case Clip():
            t = np.clip(t, *case.clip)
        case PRelu():
            t = np.where(t >= 0, t * 256, t * case.slope[:, None, None])
        case Table():
            t = _look_up(case, t)
        case PositionScale(axis):
            t = _scale_positions(case, axis, t)
    return t if case.op.tail.pool is None else _pool(t, case.op.tail.pool, case.reciprocal_shift)


def tail_bound(case: LayerCase) -> float:
    """What no number of the layer's tail exceeds. The compiler proves that these fit; cases drawn at random may not."""
    bound = float(np.abs(accumulators(case) + case.bias[:, None, None]).max()) * 2.0**case.accumulator_shift
    if case.residual is not None:
        residual = float(np.abs(case.residual.aligned).max()) * 2.0**case.residual_shift
        bound = bound * residual if case.op.tail.residual == "multiply" else bound + residual
    match case.op.tail.activation:
        case PRelu():
            bound *= max(256.0, float(np.abs(case.slope).max()))
        case PositionScale():
            assert case.table is not None
            bound *= float(np.abs(case.table).max())
    pool = case.op.tail.pool
    return bound if pool is None else bound * math.prod(pool.kernel) * 2.0**case.reciprocal_shift


def _join(operation: str, t: Integers, residual: Integers) -> Integers:
    joined: dict[str, Integers] = {"add": t + residual, "subtract": t - residual, "multiply": t * residual}
    return joined[operation]


def _look_up(case: LayerCase, t: Integers) -> Integers:
    assert case.table is not None
    rounded = np.array([_round_half_even(int(value), case.table_shift) for value in t.flat]).reshape(t.shape)
    entries: Integers = case.table[np.clip(rounded + case.table_offset, 0, 4095)]
    return entries


def _scale_positions(case: LayerCase, axis: str, t: Integers) -> Integers:
    assert case.table is not None
    rows, columns = np.indices(t.shape[1:])
    scaled: Integers = t * case.table[rows if axis == "row" else columns]
    return scaled


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
    if shift == 0:
        return value
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
        if isinstance(case.op, Conv):
            tiles.append(list(_dense_fields(case, channels, architecture.c_vec)))
            continue
        tile = [field for k in channels for field in _parameter_fields(case, k)]
        tiles.append(tile + list(_depthwise_fields(case, channels) if isinstance(case.op, Depthwise) else ()))
    return tiles


def _parameter_fields(case: LayerCase, channel: int) -> Iterator[tuple[int, int]]:
    yield int(case.bias[channel]), case.bias_bits
    if isinstance(case.op.tail.activation, PRelu):
        yield int(case.slope[channel]), 16
    if isinstance(case.op, Depthwise):
        yield int(case.weight_offsets[channel]), case.weight_format.exponent_bits


def weight_stream(case: LayerCase, architecture: Architecture) -> NDArray[np.uint64]:
    return to_words(field for tile in weight_tiles(case, architecture) for field in tile)


def weight_memory(case: LayerCase, architecture: Architecture) -> NDArray[np.uint64]:
    """The layer's stream, then its table."""
    table = [] if case.table is None else [(int(entry), 16) for entry in case.table]
    return np.concatenate([weight_stream(case, architecture), to_words(table)])


def _dense_fields(case: LayerCase, channels: range, c_vec: int) -> Iterator[tuple[int, int]]:
    weight, size, inputs = case.weight_format, case.weight_format.block_size, case.weights.shape[1]
    for vector in range(0, inputs, c_vec):
        for ky, kx in np.ndindex(case.op.kernel):
            for k in channels:
                if vector == ky == kx == 0:
                    yield from _parameter_fields(case, k)
                for c in range(vector, min(vector + c_vec, inputs)):
                    if c % size == 0:
                        yield int(case.weight_offsets[k, c // size, ky, kx]), weight.exponent_bits
                    yield int(case.weights[k, c, ky, kx]), weight.mantissa_bits


def _depthwise_fields(case: LayerCase, channels: range) -> Iterator[tuple[int, int]]:
    for ky, kx in np.ndindex(case.op.kernel):
        yield from ((int(case.weights[k, ky, kx]), case.weight_format.mantissa_bits) for k in channels)


# The program.


def layer_program(case: LayerCase, architecture: Architecture) -> LayerProgram:
    """The case as the only layer of a program: its input at address 0, then the residual, then the output."""
    op, pool = case.op, case.op.tail.pool
    channels, height, width = case.x.mantissas.shape
    array = array_size(op, (height, width))
    output = array if pool is None else pool.output_size(array)
    group, outputs = architecture.k_vec, case.bias.size
    channel_tiles = -(-outputs // group)
    part = -(-channel_tiles // case.channel_parts)
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
        depthwise_windows=int(slides_windows(op, architecture.depthwise_window)),
        weight_digits=_digits(case.weight_format, architecture.weight_bits) if isinstance(op, Conv) else 1,
        activation_digits=_digits(case.x.format, architecture.activation_bits) if isinstance(op, Conv) else 1,
        digits_side_by_side=int(_side_by_side(case, architecture)),
        **_pair("stride", op.stride),
        **_pair("dilation", op.dilation),
        **_pair("input_dilation", op.input_dilation),
        pad_top=op.pads[0],
        pad_left=op.pads[1],
        pad_mode=("zero", "edge", "reflect").index(op.pad_mode),
        pad_value=case.pad_value,
        **_pair("array", array, ("height", "width")),
        output_channels=outputs,
        channel_tiles=channel_tiles,
        channel_parts=-(-channel_tiles // part),
        part_channel_tiles=part,
        **_pair("tile", case.tile, ("height", "width")),
        tiles_vertical=-(-output[0] // case.tile[0]),
        tiles_horizontal=-(-output[1] // case.tile[1]),
        keeps_weights=int(case.keeps_weights),
        weight_mantissa_bits=case.weight_format.mantissa_bits,
        weight_exponent_bits=case.weight_format.exponent_bits,
        weight_block_size=case.weight_format.block_size,
        bias_bits=case.bias_bits,
        accumulator_shift=case.accumulator_shift,
        **({} if case.residual is None else _tensor_fields("residual", case.residual.format)),
        residual=0 if case.residual is None else ("add", "subtract", "multiply").index(op.tail.residual) + 1,
        residual_broadcast=int(case.residual is not None and case.residual.mantissas.shape[1:] == (1, 1)),
        residual_address=residual_address,
        residual_shift=case.residual_shift,
        activation=_activation_code(op.tail.activation),
        clip_low=case.clip[0],
        clip_high=case.clip[1],
        table_address=weight_stream(case, architecture).size,
        table_shift=case.table_shift,
        table_offset=case.table_offset,
        **_pool_fields(pool),
        reciprocal_shift=case.reciprocal_shift,
        **_tensor_fields("output", case.output),
        output_address=output_address,
        **_pair("output", output, ("height", "width")),
        output_exponent_range=case.output.exponent_range,
        output_exponent_shift=case.output_exponent_shift,
    )


def _digits(stored: BfpFormat, width: int) -> int:
    """Digits of `width` bits that hold a mantissa besides its sign."""
    return next(count for count in range(1, 13) if count * width >= stored.magnitude_bits)


def _side_by_side(case: LayerCase, architecture: Architecture) -> bool:
    """Whether two digits of the map find room in the lanes, each in whole channel groups."""
    groups = -(-case.x.mantissas.shape[0] // architecture.k_vec)
    dense_of_two = isinstance(case.op, Conv) and _digits(case.x.format, architecture.activation_bits) == 2
    return dense_of_two and 2 * groups <= architecture.c_vec // architecture.k_vec


def _activation_code(activation: Activation | None) -> int:
    if isinstance(activation, PositionScale):
        return {"row": 4, "column": 5}[activation.axis]
    return (type(None), Clip, PRelu, Table).index(type(activation))


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
