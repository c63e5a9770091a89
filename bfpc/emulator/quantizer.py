"""The quantizer in ordinary floating-point operators.

A block's largest element gives its exponent, `2**floor(log2 m) = q - q * (1 - 2**-p)` with `q = m * (2**(p-1) + 1)`
and a significand of p bits; adding and subtracting `1.5 * 2**(p-1)` LSBs rounds to the nearest multiple of the LSB,
ties to even.
"""

from __future__ import annotations

from bfpc.emulator.onnx_builder import FLOAT32, OnnxBuilder, Tensor
from bfpc.numerics.format import BfpFormat

SIGNIFICAND_BITS = {4: 24, 8: 53}  # by the bytes of an element


def lower_quantizer(
    builder: OnnxBuilder, x: Tensor, shape: tuple[int, int, int], exponent: int, format: BfpFormat
) -> tuple[Tensor, Tensor]:
    """Quantizes x [batch, channels, height, width], multiples of `2**exponent`, to real float32 values of `format`.

    shape: (channels, height, width) with whole blocks of channels. The second result is the weight of each block's
    LSB, float32 [batch, blocks, 1, height * width].
    """
    channels, height, width = shape
    blocked = builder.integers(0, channels // format.block_size, format.block_size, height * width)
    x = builder.call("Reshape", x, blocked)
    lsb = _block_lsb(builder, _block_maximum(builder, x, exponent, format), exponent, format)
    magic = builder.call("Mul", lsb, builder.number(1.5 * 2.0 ** (_precision(x) - 1), x))
    x = builder.call("Sub", builder.call("Add", x, magic), magic)
    x, lsb = builder.cast(x, FLOAT32), builder.cast(lsb, FLOAT32)
    x = builder.call("Min", x, builder.call("Mul", lsb, builder.number(format.max_mantissa, lsb)))
    if format.signed:
        # Only a block above the window's top can fall below the smallest mantissa.
        lowest = format.min_mantissa * 2.0 ** (format.exponent + format.exponent_range)
        x = builder.call("Max", x, builder.number(lowest, x))
    return builder.call("Reshape", x, builder.integers(0, channels, height, width)), lsb


def _precision(x: Tensor) -> int:
    return SIGNIFICAND_BITS[x.dtype.itemsize]


def _block_maximum(builder: OnnxBuilder, x: Tensor, exponent: int, format: BfpFormat) -> Tensor:
    """The largest element of each block, [batch, blocks, 1, positions]; a negative one counts as one LSB less."""
    largest = builder.call("ReduceMax", x, axes=[2], keepdims=1)
    if not format.signed:
        return largest
    smallest = builder.call("ReduceMin", x, axes=[2], keepdims=1)
    below_zero = builder.call("Sub", builder.number(-(2.0**exponent), x), smallest)
    return builder.call("Max", largest, below_zero)


def _block_lsb(builder: OnnxBuilder, maximum: Tensor, exponent: int, format: BfpFormat) -> Tensor:
    """The weight of each block's LSB, kept in the exponent window."""
    precision = _precision(maximum)
    scale = 2.0 ** (1 - format.magnitude_bits)  # from the power of two to the LSB
    q = builder.call("Mul", maximum, builder.number((2.0 ** (precision - 1) + 1) * scale, maximum))
    # q * (1 - 2**-p) as a subtraction: some optimizers take that constant for 1 and drop the product.
    shaved = builder.call("Sub", q, builder.call("Mul", q, builder.number(2.0**-precision, q)))
    lsb = builder.call("Sub", q, shaved)
    top = format.exponent + format.exponent_range
    # No block of integers is shorter than 0 bits, which keeps its exponent above this.
    bottom = max(format.exponent, min(exponent - format.magnitude_bits, top))
    return builder.call("Clip", lsb, builder.number(2.0**bottom, lsb), builder.number(2.0**top, lsb))
