"""Operators of the accelerator's modules beside the array, counted from the C++.

Bits of adders (comparisons among them), bits of multiplexers of four inputs, and products. Registers, loop counters,
addresses and the program's decoder are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from bfpc.backend.architecture import BEAT_BITS, Architecture
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.memories import EXPONENT_BITS, INTEGER_BITS, TAIL_BITS, Sizes

POSITION_BITS = 10  # of a field's place in a record


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


@dataclass(frozen=True)
class TailLane:
    """Bias, residual, activation, pool and rounding of a channel, all in `bits` bits.

    mantissa_bits: of a signed integer that holds any mantissa of a residual or of the output.
    """

    accumulator_bits: int
    bits: int
    mantissa_bits: int

    @property
    def operators(self) -> Operators:
        bits = self.bits
        shift = _shifter(bits, bits)
        finish = Operators(
            adders=bits * 3,  # bias, residual added or subtracted
            multiplexers=_shifter(bits, 1 << EXPONENT_BITS) + 2 * shift + _selection(bits, 4),
            products=(Product(1, bits, bits, bits),),
        )
        activate = Operators(
            adders=bits * 6,  # two clips, rounding, the table's offset and ends
            multiplexers=2 * _selection(bits, 2) + _right_shifter(bits) + _selection(bits, 4),
            products=(Product(1, bits, INTEGER_BITS, bits),),
        )
        pool = Operators(bits * 2, 2 * _selection(bits, 2), (Product(1, bits, bits, bits),))
        return finish + activate + pool + self.quantizer

    @property
    def quantizer(self) -> Operators:
        """Rounding alone."""
        bits, mantissa = self.bits, self.mantissa_bits
        return Operators(
            adders=bits * 6,  # magnitude, rounding, the ends of the mantissa's range before and after
            multiplexers=_right_shifter(bits) + _shifter(mantissa, mantissa) + 3 * _selection(mantissa, 2),
        )


@dataclass(frozen=True)
class Unpacker:
    """A record out of a window over beats: one shift of the whole, then every lane takes its field.

    bits: of a signed integer that holds any mantissa.
    """

    lanes: int
    block: int
    bits: int

    @property
    def words(self) -> int:
        """64-bit words of a record that begins anywhere in the first."""
        return -(-self.record_bits // WORD_BITS) + 1

    @property
    def line_words(self) -> int:
        """Of the window: the beats that a record can lie in, and two to spare."""
        return (-(-self.record_bits // BEAT_BITS) + 1) * BEAT_BITS // WORD_BITS + 2

    @property
    def record_bits(self) -> int:
        return self.lanes * self.bits + self.lanes // self.block * EXPONENT_BITS

    @property
    def operators(self) -> Operators:
        aligned = _field(WORD_BITS * self.words, self.line_words)
        blocks = self.lanes // self.block
        choices = self.words + 1  # what lies behind the record among them
        fields = self.lanes * _field(self.bits, choices) + blocks * _field(EXPONENT_BITS, choices)
        places = (self.lanes + blocks) * 2 * POSITION_BITS
        return Operators(self.lanes * self.bits + places, aligned + fields)


def tail_lane(architecture: Architecture) -> TailLane:
    return TailLane(architecture.accumulator_bits, TAIL_BITS, architecture.max_mantissa_bits + 1)


def unpackers(architecture: Architecture) -> tuple[Unpacker, ...]:
    """Of each channel group of a vector, of residuals, of dense and of depthwise weights."""
    lanes, block = architecture.k_vec, architecture.block
    features = Unpacker(lanes, block, architecture.feature_bits)
    residuals = Unpacker(lanes, block, architecture.max_mantissa_bits + 1)
    dense = Unpacker(architecture.c_vec, block, architecture.dense_weight_bits)
    depthwise = Unpacker(lanes, block, architecture.depthwise_weight_bits)
    return (*(features for _ in range(architecture.vector_groups)), residuals, dense, depthwise)


def other_operators(architecture: Architecture) -> dict[str, Operators]:
    """What else there is in each module; depthwise lanes are beside the processing elements' dot products."""
    beats = sum((_line(unpacker) for unpacker in unpackers(architecture)), Operators())
    lanes = _depthwise_lane(architecture) * architecture.k_vec
    if architecture.depthwise_window > 1:
        lanes += _map_lane(architecture) * architecture.k_vec + _block_exponents(architecture)
    return {
        "depthwise lanes": lanes,
        "loaders": beats,
        "tail": _block_exponents(architecture),
        "DMA": _packer(Sizes(architecture).group_record, architecture.k_vec, architecture.max_mantissa_bits),
    }


def _shifter(bits: int, distances: int) -> int:
    """Multiplexer bits of a shifter by up to `distances` - 1: two bits of the distance in each stage."""
    return bits * -(-(distances - 1).bit_length() // 2)


def _right_shifter(bits: int) -> int:
    """Multiplexer bits of a shifter to the right, with half of the last bit."""
    return 2 * _shifter(bits, bits)


def _selection(bits: int, choices: int) -> int:
    """Multiplexer bits that choose one of several words: each multiplexer of the tree leaves three fewer."""
    return -(-bits * (choices - 1) // 3)


def _field(bits: int, words: int) -> int:
    """Multiplexer bits that take a field out of words at any bit: whole words first, then ever shorter steps."""
    steps = (WORD_BITS // 4, WORD_BITS // 16, WORD_BITS // 64)
    return _selection(bits + WORD_BITS - 1, words) + sum(bits + step - 1 for step in steps)


def _depthwise_lane(architecture: Architecture) -> Operators:
    """A processing element's lane for depthwise layers: one tap at a time into the accumulators, and the windows."""
    left, right, window = architecture.feature_bits, architecture.depthwise_weight_bits, architecture.depthwise_window
    bits, distances, taps = architecture.accumulator_bits, 1 << EXPONENT_BITS, window**2
    aligned = left + distances - 1
    tap = Operators(bits, _shifter(bits, distances) + _selection(bits, 2), (Product(1, left, right, left + right),))
    products = (Product(taps, aligned, right, aligned + right),)
    # Weights that arrive, for two channel tiles, and those of the one whose windows are complete; zeros beyond the map.
    chosen = taps * (3 * _selection(right, 2) + _selection(aligned, 2))
    return tap + Operators(taps * bits, window * _shifter(aligned, distances) + chosen, products)


def _map_lane(architecture: Architecture) -> Operators:
    """A channel of a map that streams to the windows: bias, shift, bounds and rounding."""
    lane = TailLane(architecture.accumulator_bits, TAIL_BITS, architecture.feature_bits)
    bounded = Operators(lane.bits * 3, _shifter(lane.bits, lane.bits) + 2 * _selection(lane.bits, 2))
    return bounded + lane.quantizer


def _block_exponents(architecture: Architecture) -> Operators:
    """The exponent of every block: the bit length of its magnitudes, those of its neighbours among them."""
    blocks = architecture.k_vec // architecture.block
    return Operators(
        adders=blocks * 4 * INTEGER_BITS,
        multiplexers=_selection(architecture.k_vec * TAIL_BITS, 2) + blocks * _shifter(TAIL_BITS, TAIL_BITS),
    )


def _line(unpacker: Unpacker) -> Operators:
    """The window over beats: a beat is appended at one of few places, or dropped."""
    return Operators(multiplexers=2 * unpacker.line_words * WORD_BITS)


def _packer(record_bits: int, lanes: int, bits: int) -> Operators:
    """Every lane's field to its place in a record, and the record to its place in beats."""
    words = -(-record_bits // WORD_BITS) + 1
    fields = lanes * (_shifter(bits + WORD_BITS, WORD_BITS) + _selection(WORD_BITS, 2))
    placed = words * (_shifter(2 * WORD_BITS, WORD_BITS) + _selection(WORD_BITS, 2 * BEAT_BITS // WORD_BITS))
    return Operators(lanes * bits, fields + placed)
