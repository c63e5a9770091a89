"""Parts of the accelerator to be synthesized and simulated by themselves, and vectors that their testbenches check.

A unit has the accelerator's widths on a small array. Its expected results follow from the arithmetic contract in
integers of any size; only the quantizer is the emulator's own, `numerics.quantize.quantize_integers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import ActivationMode, LayerProgram, PoolMode, Program, ResidualMode, encode_program
from bfpc.numerics.format import MAX_EXPONENT_RANGE, BfpFormat
from bfpc.numerics.layer import SLOPE_SHIFT, TABLE_BITS, TABLE_ENTRIES, reciprocal
from bfpc.numerics.quantize import quantize_integers

C_VEC, K_VEC, BLOCK = 8, 8, 4
DOT_PRODUCT_CASES, LAYER_TAIL_CASES = 24, 20
POSITIONS = 6  # of a pooling window: a sixth is not exact
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DotProductCase:
    """One vector of features meets the weights of all processing elements.

    features [C_VEC] with offsets [blocks]; weights [C_VEC, K_VEC], digits of their own, with offsets [blocks, K_VEC];
    digit: of `digits` of the features, the one that is multiplied. sums, expected [K_VEC]: before and after.
    """

    features: Integers
    feature_offsets: Integers
    weights: Integers
    weight_offsets: Integers
    digit: int
    digits: int
    sums: Integers
    expected: Integers


@dataclass(frozen=True, eq=False)
class LayerTailCase:
    """A pooling window, or a position of a layer without pool, from accumulators to a stored group.

    program: of one layer. sums, residuals [POSITIONS, K_VEC], residual_offsets [POSITIONS, blocks]; of a layer without
    pool the first position alone counts. biases, slopes, weight_offsets [K_VEC]. scale: what a layer with a scale of
    rows multiplies by. mantissas [K_VEC] and offsets [blocks]: what is stored, of which `channels` are the layer's.
    """

    program: Integers
    channels: int
    positions: int
    scale: int
    sums: Integers
    residuals: Integers
    residual_offsets: Integers
    biases: Integers
    slopes: Integers
    weight_offsets: Integers
    mantissas: Integers
    offsets: Integers


@dataclass(frozen=True, eq=False)
class Units:
    """The units' array, and what their testbenches run. table: a layer tail's, in words."""

    architecture: Architecture
    dot_products: tuple[DotProductCase, ...]
    layer_tails: tuple[LayerTailCase, ...]
    table: NDArray[np.uint64]


def make_units(architecture: Architecture) -> Units:
    """The units of an accelerator. Equal accelerators have equal vectors."""
    small = replace(architecture, c_vec=C_VEC, k_vec=K_VEC, block=BLOCK, feature_depth=1)
    rng = np.random.default_rng(0)
    table = rng.integers(-(1 << (TABLE_BITS - 1)), 1 << (TABLE_BITS - 1), TABLE_ENTRIES)
    return Units(
        small,
        tuple(_dot_product(small, rng, case) for case in range(DOT_PRODUCT_CASES)),
        tuple(_layer_tail(small, rng, case, table) for case in range(LAYER_TAIL_CASES)),
        table.astype("<i2").view("<u8"),
    )


def _dot_product(architecture: Architecture, rng: np.random.Generator, case: int) -> DotProductCase:
    """The first cases have the most negative mantissas, whose products are the largest."""
    digits, width = architecture.most_activation_digits, architecture.activation_bits
    digit = case % digits
    features = _signed(rng, architecture.feature_bits, C_VEC)
    weights = _signed(rng, architecture.weight_operand_bits, (C_VEC, K_VEC))
    if case < digits:
        features[:] = -(1 << (architecture.feature_bits - 1))
        weights[:] = -(1 << (architecture.weight_operand_bits - 1))
    # Octaves that the accumulator leaves to the two exponents.
    octaves = architecture.accumulator_bits - (architecture.feature_bits + architecture.weight_operand_bits) - 3
    weight_offsets = rng.integers(0, octaves // 3 + 1, (C_VEC // BLOCK, K_VEC))
    feature_offsets = rng.integers(0, min(octaves - octaves // 3, MAX_EXPONENT_RANGE) + 1, C_VEC // BLOCK)
    higher = features >> (width * digit)
    multiplied = higher if digit == digits - 1 else higher & ((1 << width) - 1)
    aligned = multiplied << (np.repeat(feature_offsets, BLOCK) + width * digit)
    products = (aligned[:, None] * (weights << np.repeat(weight_offsets, BLOCK, axis=0))).sum(axis=0)
    room = (1 << (architecture.accumulator_bits - 1)) - 1 - np.abs(products)
    sums = rng.integers(-room, room, endpoint=True)
    return DotProductCase(
        features, feature_offsets, weights, weight_offsets, digit, digits, sums, expected=sums + products
    )


def _signed(rng: np.random.Generator, bits: int, shape: int | tuple[int, ...]) -> Integers:
    return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape)


def _layer_tail(architecture: Architecture, rng: np.random.Generator, case: int, table: Integers) -> LayerTailCase:
    """All residuals with all activations but the scale of columns, which is that of rows, and all pools among them."""
    layer, output = _tail_program(architecture, rng, case)
    positions = POSITIONS if layer.pool else 1
    channels = K_VEC - case % 3
    # Short numbers lose a bit or two, so that there are ties.
    bits = 20 if case % 2 else output.mantissa_bits
    sums, biases = _signed(rng, bits, (POSITIONS, K_VEC)), _signed(rng, bits, K_VEC)
    residuals = _signed(rng, min(architecture.max_mantissa_bits + 1, 8), (POSITIONS, K_VEC))
    residual_offsets = rng.integers(0, 4, (POSITIONS, K_VEC // BLOCK))
    slopes = _signed(rng, 10, K_VEC)
    weight_offsets = rng.integers(0, 4, K_VEC)
    scale = int(rng.integers(0, 1 << 15))
    t = ((sums << weight_offsets) + biases) << layer.accumulator_shift
    t = _join(layer, t, residuals << (np.repeat(residual_offsets, BLOCK, axis=1) + layer.residual_shift))
    t = _pool(layer, _activate(layer, t, slopes, scale, table)[:positions])
    shift = int(np.abs(t).max()).bit_length() - output.magnitude_bits - output.exponent_range + case % 3 - 1
    t[channels:] = 0
    mantissas, offsets = quantize_integers(t, 0, replace(output, exponent=shift))
    program = Program((replace(layer, output_channels=channels, output_exponent_shift=shift),), 0, 0, 0, 0)
    words = encode_program(program).astype(np.int64)
    return LayerTailCase(
        words, channels, positions, scale, sums, residuals, residual_offsets, biases, slopes, weight_offsets,
        mantissas, offsets.repeat(output.block_size // BLOCK),
    )  # fmt: skip


def _tail_program(architecture: Architecture, rng: np.random.Generator, case: int) -> tuple[LayerProgram, BfpFormat]:
    """The fields that a tail reads, the others 0, and the format of what is stored."""
    bits = int(rng.integers(2, architecture.max_mantissa_bits + 1))
    output = BfpFormat(bits, BLOCK << case % 2, int(rng.integers(0, 8)), signed=bool(rng.integers(2)))
    layer = LayerProgram(**{field.name: 0 for field in fields(LayerProgram)})
    return replace(
        layer,
        accumulator_shift=int(rng.integers(0, 4)),
        residual=case % len(ResidualMode),
        residual_shift=int(rng.integers(0, 4)),
        activation=case % len(tuple(_activations())),
        clip_low=-(1 << int(rng.integers(16, 22))),
        clip_high=1 << int(rng.integers(16, 22)),
        table_shift=10,
        table_offset=TABLE_ENTRIES // 2,
        pool=case % len(PoolMode),
        reciprocal_shift=16,
        output_mantissa_bits=output.mantissa_bits,
        output_signed=int(output.signed),
        output_exponent_bits=output.exponent_bits,
        output_block_size=output.block_size,
        output_exponent_range=output.exponent_range,
    ), output


def _activations() -> Iterator[ActivationMode]:
    yield from (mode for mode in ActivationMode if mode != ActivationMode.COLUMN_SCALE)


def _join(layer: LayerProgram, t: Integers, residual: Integers) -> Integers:
    match layer.residual:
        case ResidualMode.ADD_RESIDUAL:
            return t + residual
        case ResidualMode.SUBTRACT_RESIDUAL:
            return t - residual
        case ResidualMode.MULTIPLY_RESIDUAL:
            return t * residual
    return t


def _activate(layer: LayerProgram, t: Integers, slopes: Integers, scale: int, table: Integers) -> Integers:
    match layer.activation:
        case ActivationMode.CLIP:
            return np.clip(t, layer.clip_low, layer.clip_high)
        case ActivationMode.PRELU:
            return np.where(t >= 0, t << SLOPE_SHIFT, t * slopes)
        case ActivationMode.TABLE:
            half = (1 << (layer.table_shift - 1)) - 1 + ((t >> layer.table_shift) & 1)
            place = ((t + half) >> layer.table_shift) + layer.table_offset
            return np.asarray(table[np.clip(place, 0, TABLE_ENTRIES - 1)], np.int64)
        case ActivationMode.ROW_SCALE:
            return t * scale
    return t


def _pool(layer: LayerProgram, t: Integers) -> Integers:
    """t [positions, K_VEC] to [K_VEC]."""
    if layer.pool == PoolMode.AVERAGE_POOL:
        return np.asarray(t.sum(axis=0) * reciprocal(len(t), layer.reciprocal_shift), np.int64)
    return np.asarray(t.max(axis=0), np.int64)
