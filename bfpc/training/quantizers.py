"""The compiler's quantizer in PyTorch: the values of `numerics.quantize`, bit for bit, with straight-through gradients.

A block's exponent comes from the bit pattern of its largest element; elements are rounded to nearest, ties to even, and
saturate. The gradient passes rounding unchanged; where an element lies beyond what the format's exponent window
reaches, it passes only if it leads back. Quantized maps stay real numbers: every mantissa times its block's power of
two fits a float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bfpc.numerics.format import BfpFormat

Exponent = int | Tensor  # a number known beforehand, or an integer tensor without axes


@dataclass(frozen=True)
class _Pattern:
    """Where a floating-point type holds its exponent."""

    integer: torch.dtype
    fraction_bits: int
    bias: int


_PATTERNS = {torch.float32: _Pattern(torch.int32, 23, 127), torch.float64: _Pattern(torch.int64, 52, 1023)}


def quantize_maps(x: Tensor, format: BfpFormat, exponent: Exponent | None = None) -> Tensor:
    """Maps, or dense weights, as real numbers of `format`, blocks along the second axis.

    x: [batch, channels, height, width], float32 or float64. exponent: the base exponent; None for that of `format`.
    """
    batch, channels, height, width = x.shape
    missing = -channels % format.block_size
    padded = functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
    blocks = padded.reshape(batch, -1, format.block_size, height * width)
    base = format.exponent if exponent is None else exponent
    quantized: Tensor = _Quantize.apply(blocks, format, base)
    return quantized.reshape(padded.shape)[:, :channels] if missing else quantized.reshape(x.shape)


def quantize_depthwise(weight: Tensor, format: BfpFormat, exponent: Exponent | None = None) -> Tensor:
    """Depthwise weights [channels, 1, height, width] as real numbers of `format`, one exponent for a channel's taps."""
    taps = weight.reshape(len(weight), -1, 1, 1)
    return quantize_maps(taps, format, exponent).reshape(weight.shape)


def round_to_lsb(x: Tensor, lsb: float | Tensor) -> Tensor:
    """x as multiples of `lsb`, a power of two, ties to even; the gradient is that of x."""
    return x + (torch.round(x / lsb) * lsb - x).detach()  # exact: the difference has no more digits than x


def power_of_two(exponent: Exponent, dtype: torch.dtype) -> float | Tensor:
    """`2**exponent` within the normal numbers of `dtype`, exact (a floating-point power need not be)."""
    if isinstance(exponent, int):
        return 2.0**exponent
    pattern = _PATTERNS[dtype]
    return ((exponent.to(pattern.integer) + pattern.bias) << pattern.fraction_bits).view(dtype)


class _Quantize(torch.autograd.Function):
    """Blocks [batch, blocks, channels of a block, positions] to real numbers of a format."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, format: BfpFormat, base: Exponent) -> Tensor:
        top = base + format.exponent_range
        if ctx.needs_input_grad[0]:
            lowest = format.min_mantissa * power_of_two(top, x.dtype)
            ctx.save_for_backward(x < lowest, x >= power_of_two(top + format.magnitude_bits, x.dtype))
        exponents = torch.clamp(_bit_lengths(x) - format.magnitude_bits, base, top)  # type: ignore[arg-type]
        mantissas = (x * power_of_two(-exponents, x.dtype)).round_().clamp_(format.min_mantissa, format.max_mantissa)
        return mantissas.mul_(power_of_two(exponents, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        below, above = ctx.saved_tensors
        away = (below & (gradients[0] > 0)) | (above & (gradients[0] < 0))  # descending goes against the gradient
        return gradients[0].masked_fill(away, 0), None, None


def _bit_lengths(x: Tensor) -> Tensor:
    """For each block the k with all elements below `2**k`, [batch, blocks, 1, positions].

    A negative number counts as the next smaller float, so that `-2**k` needs no more than what lies below it.
    """
    pattern = _PATTERNS[x.dtype]
    highest = x.amax(2, keepdim=True).clamp_(min=0).view(pattern.integer)
    lowest = x.amin(2, keepdim=True).clamp_(max=0).abs_().view(pattern.integer) - 1
    return (torch.maximum(highest, lowest) >> pattern.fraction_bits) - (pattern.bias - 1)
