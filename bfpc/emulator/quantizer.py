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
    x = _blocked(builder, x, shape, format)
    lsb = power_of_two(builder, _block_maximum(builder, x, exponent, format), 1 - format.magnitude_bits)
    top = format.exponent + format.exponent_range
    # No block of integers is shorter than 0 bits, which keeps its exponent above this.
    bottom = max(format.exponent, min(exponent - format.magnitude_bits, top))
    lsb = builder.call("Clip", lsb, builder.number(2.0**bottom, lsb), builder.number(2.0**top, lsb))
    x = rounded(builder, x, lsb)
    x, lsb = builder.cast(x, FLOAT32), builder.cast(lsb, FLOAT32)
    x = builder.call("Min", x, builder.call("Mul", lsb, builder.number(format.max_mantissa, lsb)))
    if format.signed:
        # Only a block above the window's top can fall below the smallest mantissa.
        x = builder.call("Max", x, builder.number(format.min_mantissa * 2.0**top, x))
    return builder.call("Reshape", x, builder.integers(0, *shape)), lsb


def lower_input_quantizer(builder: OnnxBuilder, x: Tensor, shape: tuple[int, int, int], format: BfpFormat) -> Tensor:
    """Quantizes x, any real numbers, float32 [batch, channels, height, width], as `numerics.quantize` does.

    shape: (channels, height, width) with whole blocks of channels. Infinities saturate.
    """
    x = _blocked(builder, x, shape, format)
    top = format.exponent + format.exponent_range
    magnitude = builder.call("Neg", builder.reduce("ReduceMin", x, 2))
    magnitude = builder.call("Min", magnitude, builder.number(2.0 ** (top + format.magnitude_bits), magnitude))
    # The next float towards zero, where it matters: a negative power of two needs a bit less.
    less = builder.call("Sub", magnitude, builder.call("Mul", magnitude, builder.number(2.0**-24, magnitude)))
    maximum = builder.call("Max", builder.reduce("ReduceMax", x, 2), less)
    bounds = (2.0 ** (exponent + format.magnitude_bits - 1) for exponent in (format.exponent, top))
    maximum = builder.call("Clip", maximum, *(builder.number(bound, x) for bound in bounds))
    lsb = power_of_two(builder, maximum, 1 - format.magnitude_bits)
    x = builder.call("Min", rounded(builder, x, lsb), builder.call("Mul", lsb, builder.number(format.max_mantissa, x)))
    x = builder.call("Max", x, builder.number(format.min_mantissa * 2.0**top, x))
    return builder.call("Reshape", x, builder.integers(0, *shape))


def _blocked(builder: OnnxBuilder, x: Tensor, shape: tuple[int, int, int], format: BfpFormat) -> Tensor:
    """[batch, blocks, channels of a block, positions]."""
    channels, height, width = shape
    blocks = builder.integers(0, channels // format.block_size, format.block_size, height * width)
    return builder.call("Reshape", x, blocks)


def _precision(x: Tensor) -> int:
    return SIGNIFICAND_BITS[x.dtype.itemsize]


def _block_maximum(builder: OnnxBuilder, x: Tensor, exponent: int, format: BfpFormat) -> Tensor:
    """The largest element of each block, [batch, blocks, 1, positions]; a negative one counts as one LSB less."""
    largest = builder.reduce("ReduceMax", x, 2)
    if not format.signed:
        return largest
    smallest = builder.reduce("ReduceMin", x, 2)
    below_zero = builder.call("Sub", builder.number(-(2.0**exponent), x), smallest)
    return builder.call("Max", largest, below_zero)


def power_of_two(builder: OnnxBuilder, x: Tensor, scale: int) -> Tensor:
    """The largest power of two up to x, times `2**scale`."""
    precision = _precision(x)
    q = builder.call("Mul", x, builder.number((2.0 ** (precision - 1) + 1) * 2.0**scale, x))
    # q * (1 - 2**-p) as a subtraction: some optimizers take that constant for 1 and drop the product.
    return builder.call("Sub", q, builder.call("Sub", q, builder.call("Mul", q, builder.number(2.0**-precision, q))))


def rounded(builder: OnnxBuilder, x: Tensor, lsb: Tensor) -> Tensor:
    """x as multiples of the LSBs."""
    magic = builder.call("Mul", lsb, builder.number(1.5 * 2.0 ** (_precision(x) - 1), x))
    return builder.call("Sub", builder.call("Add", x, magic), magic)
