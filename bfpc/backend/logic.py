"""Operators of the accelerator's modules beside the array: counted from the C++, as no HLS tool counted them.

Bits of adders (comparisons among them), bits of multiplexers of four inputs, and products. Registers, loop counters,
addresses and the program's decoder are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from bfpc.backend.architecture import Architecture
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.memories import BEAT_BITS, EXPONENT_BITS, INTEGER_BITS, TAIL_BITS, Sizes

RECIPROCAL_BITS = 64  # of an average's divisor


@dataclass(frozen=True)
class Product:
    """`count` multiplications of signed operands; of each the low `kept` bits are used."""

    count: int
    left: int
    right: int
    kept: int


@dataclass(frozen=True)
class Operators:
    """adders, multiplexers: in bits."""

    adders: int = 0
    multiplexers: int = 0
    products: tuple[Product, ...] = ()

    def __add__(self, other: Operators) -> Operators:
        return Operators(
            self.adders + other.adders, self.multiplexers + other.multiplexers, self.products + other.products
        )

    def __mul__(self, count: int) -> Operators:
        products = tuple(Product(count * each.count, each.left, each.right, each.kept) for each in self.products)
        return Operators(count * self.adders, count * self.multiplexers, products)


def module_operators(architecture: Architecture) -> dict[str, Operators]:
    """Of each module; depthwise lanes are those beside the processing elements' dot products."""
    sizes, groups = Sizes(architecture), architecture.c_vec // architecture.k_vec
    of_maps = _unpacker(sizes.group_record, architecture.k_vec, architecture.block, architecture.max_mantissa_bits)
    weight_bits = architecture.dense_weight_bits
    record = architecture.c_vec * weight_bits + architecture.c_vec // architecture.block * EXPONENT_BITS
    of_weights = _unpacker(record, architecture.c_vec, architecture.block, weight_bits)
    taps = architecture.k_vec * architecture.depthwise_weight_bits
    of_taps = _unpacker(taps, architecture.k_vec, architecture.block, architecture.depthwise_weight_bits)
    return {
        "depthwise lanes": _channelwise(architecture) * architecture.k_vec,
        "loaders": of_maps * (groups + 1) + of_weights + of_taps,  # features, and residuals
        "tail": _tail_lane(architecture) * architecture.k_vec + _blocks(architecture),
        "DMA": _packer(sizes.group_record, architecture.k_vec, architecture.max_mantissa_bits),
    }


def _shifter(bits: int, distances: int) -> int:
    """Multiplexer bits of a shifter by up to `distances` - 1: two bits of the distance in each stage."""
    return bits * -(-(distances - 1).bit_length() // 2)


def _selection(bits: int, choices: int) -> int:
    """Multiplexer bits that choose one of several words."""
    return bits * -(-(choices - 1) // 3)


def _channelwise(architecture: Architecture) -> Operators:
    """A processing element's lane for depthwise layers, behind which its accumulator is shared."""
    left, right = architecture.feature_bits, architecture.depthwise_weight_bits
    bits = architecture.accumulator_bits
    return Operators(
        bits, _shifter(bits, 1 << EXPONENT_BITS) + _selection(bits, 2), (Product(1, left, right, left + right),)
    )


def _tail_lane(architecture: Architecture) -> Operators:
    """Bias, residual, activation, pool and rounding of a channel, all in TAIL_BITS."""
    bits, mantissa = TAIL_BITS, architecture.max_mantissa_bits + 1
    shift, right_shift = _shifter(bits, bits), 2 * _shifter(bits, bits)  # to the right with half of the last bit
    finish = Operators(
        adders=bits * 3,  # bias, residual added or subtracted
        multiplexers=_shifter(bits, 1 << EXPONENT_BITS) + 2 * shift + _selection(bits, 4),
        products=(Product(1, bits, bits, bits),),
    )
    activate = Operators(
        adders=bits * 6,  # two clips, rounding, the table's offset and ends
        multiplexers=2 * _selection(bits, 2) + right_shift + _selection(bits, 4),
        products=(Product(1, bits, INTEGER_BITS, bits),),
    )
    pool = Operators(bits * 2, 2 * _selection(bits, 2), (Product(1, bits, RECIPROCAL_BITS, bits),))
    quantize = Operators(
        adders=bits * 6,  # magnitude, rounding, the ends of the mantissa's range before and after
        multiplexers=right_shift + _shifter(mantissa, mantissa) + 3 * _selection(mantissa, 2),
    )
    return finish + activate + pool + quantize


def _blocks(architecture: Architecture) -> Operators:
    """The exponent of every block: the bit length of its magnitudes, those of its neighbours among them."""
    blocks = architecture.k_vec // architecture.block
    return Operators(
        adders=blocks * 4 * INTEGER_BITS,
        multiplexers=_selection(architecture.k_vec * TAIL_BITS, 2) + blocks * _shifter(TAIL_BITS, TAIL_BITS),
    )


def _unpacker(record_bits: int, lanes: int, block: int, bits: int) -> Operators:
    """A record out of a window over beats: one shift of the whole, then every lane takes its field."""
    words = -(-record_bits // WORD_BITS) + 1
    line_words = (-(-record_bits // BEAT_BITS) + 1) * BEAT_BITS // WORD_BITS + 2
    aligned = words * (_selection(WORD_BITS, line_words) + _shifter(WORD_BITS, WORD_BITS))
    beats = line_words * WORD_BITS  # appended and dropped
    fields = (lanes * bits + lanes // block * EXPONENT_BITS) * (_selection(1, words) + _shifter(1, WORD_BITS))
    return Operators(lanes * bits, aligned + 2 * beats + fields)


def _packer(record_bits: int, lanes: int, bits: int) -> Operators:
    """Every lane's field to its place in a record, and the record to its place in beats."""
    words = -(-record_bits // WORD_BITS) + 1
    fields = lanes * (_shifter(bits + WORD_BITS, WORD_BITS) + _selection(WORD_BITS, 2))
    placed = words * (_shifter(2 * WORD_BITS, WORD_BITS) + _selection(WORD_BITS, 2 * BEAT_BITS // WORD_BITS))
    return Operators(lanes * bits, fields + placed)
