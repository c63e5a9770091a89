"""Positions of a map: padded, cropped, skipped and repeated, without arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bfpc.emulator.onnx_builder import OnnxBuilder, Tensor
from bfpc.ir.operators import NO_PADS, PadMode, Pads, Pair, Pass
from bfpc.numerics.layer import LayerArithmetic

INT64_MAX = np.iinfo(np.int64).max
MODES: dict[PadMode, str] = {"zero": "constant", "edge": "edge", "reflect": "reflect"}


def per_side(function: Callable[[int, int], int], pads: Pads, pair: Pair) -> Pads:
    """function(pad, number) of every side, with the number of its axis."""
    top, left, bottom, right = (function(pad, number) for pad, number in zip(pads, (*pair, *pair), strict=True))
    return top, left, bottom, right


def padded_map(builder: OnnxBuilder, x: Tensor, pads: Pads, mode: PadMode = "zero", value: float = 0.0) -> Tensor:
    """The map with positions around it, or cropped where pads are negative; `value` is what mode "zero" pads with."""
    added = per_side(lambda pad, _: max(pad, 0), pads, (0, 0))
    cropped = per_side(lambda pad, _: min(pad, 0), pads, (0, 0))
    if added != NO_PADS:
        operands = [builder.number(value, x)] if value else []
        x = builder.call("Pad", x, _pads_of_axes(builder, added), *operands, mode=MODES[mode])
    return x if cropped == NO_PADS else builder.call("Pad", x, _pads_of_axes(builder, cropped))


def _pads_of_axes(builder: OnnxBuilder, pads: Pads) -> str:
    top, left, bottom, right = pads
    return builder.integers(0, 0, top, left, 0, 0, bottom, right)


def strided(builder: OnnxBuilder, x: Tensor, stride: Pair) -> Tensor:
    """Every `stride`-th position."""
    if stride == (1, 1):
        return x
    bounds = (builder.integers(0, 0), builder.integers(INT64_MAX, INT64_MAX), builder.integers(2, 3))
    return builder.call("Slice", x, *bounds, builder.integers(*stride))


def lower_pass(
    builder: OnnxBuilder, x: Tensor, op: Pass, arithmetic: LayerArithmetic | None, shape: tuple[int, int, int]
) -> Tensor:
    """The positions that a Pass hands to its tail: every stride-th one, or each of them repeated.

    shape: the result's (channels, height, width).
    """
    value = op.pad_value if arithmetic is None else arithmetic.pad_value * 2.0**arithmetic.accumulator_exponent
    # With repetitions an output sees the only real position among as many neighbours; of pads, whole ones count.
    whole = per_side(lambda pad, factor: pad // factor, op.pads, op.input_dilation)
    x = strided(builder, padded_map(builder, x, whole, op.pad_mode, value), op.stride)
    if op.input_dilation == (1, 1):
        return x
    x = _repeated(builder, x, op.input_dilation)
    if not any((pad + 1) % factor for pad, factor in zip(op.pads, op.input_dilation * 2, strict=True)):
        return x  # all repetitions of every position
    starts = [factor - 1 - pad % factor for pad, factor in zip(op.pads[:2], op.input_dilation, strict=True)]
    stops = [start + size for start, size in zip(starts, shape[1:], strict=True)]
    return builder.call("Slice", x, builder.integers(*starts), builder.integers(*stops), builder.integers(2, 3))


def _repeated(builder: OnnxBuilder, x: Tensor, times: Pair) -> Tensor:
    """Every position as often as `times` says."""
    scales = builder.constant(np.array([1, 1, *times], np.float32))
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return builder.call("Resize", x, "", scales, **modes)
