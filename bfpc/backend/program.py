"""The program: one record of 32-bit words per layer, as the accelerator decodes it.

`program.bin` is little endian: a header of 16 words (magic, version, layer count, words per layer, feature memory
words, weight memory words, input words, input address, zeros), then the fields of `LayerProgram` in their order for
every layer. Header and records are whole beats of a memory port, filled up with zeros. The generated C++ (`struct
Layer`), `schedule.json` and this module share the fields' names, order and texts through `FIELDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, get_type_hints

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import BEAT_BYTES
from bfpc.errors import BuildError

MAGIC = 0x42465043
VERSION = 6
WORDS_OF_BEAT = BEAT_BYTES // 4  # 32-bit words that a memory port moves at a time
HEADER_WORDS = WORDS_OF_BEAT


class ArrayMode(IntEnum):
    """How the array combines lanes."""

    DENSE = 0
    DEPTHWISE = 1
    PASS = 2


class PadMode(IntEnum):
    """What the array finds beyond the map: zeros (a pass its pad value), the nearest position, the mirrored one."""

    PAD_ZERO = 0
    PAD_EDGE = 1
    PAD_REFLECT = 2


class ResidualMode(IntEnum):
    """How a layer's tail joins its residual."""

    NO_RESIDUAL = 0
    ADD_RESIDUAL = 1
    SUBTRACT_RESIDUAL = 2
    MULTIPLY_RESIDUAL = 3


class ActivationMode(IntEnum):
    """What a layer's tail does between residual and pooling."""

    NO_ACTIVATION = 0
    CLIP = 1
    PRELU = 2
    TABLE = 3
    ROW_SCALE = 4
    COLUMN_SCALE = 5


class PoolMode(IntEnum):
    """What a layer's tail makes of a pooling window."""

    NO_POOL = 0
    MAX_POOL = 1
    AVERAGE_POOL = 2


MODES: tuple[type[IntEnum], ...] = (ArrayMode, PadMode, ResidualMode, ActivationMode, PoolMode)


@dataclass(frozen=True)
class Word:
    """What a field of the program means; a field takes one 32-bit word or two, the low one first."""

    section: str
    doc: str
    words: int = 1


@dataclass(frozen=True)
class Field:
    """A field of `LayerProgram` as the templates see it: its name, section, meaning and number of words."""

    name: str
    section: str
    doc: str
    words: int


@dataclass(frozen=True)
class LayerProgram:
    """One layer in the accelerator's terms. Addresses are in 64-bit words, tiles in output positions."""

    array_mode: Annotated[int, Word("array", "0 dense, 1 depthwise, 2 pass")]

    input_address: Annotated[int, Word("input", "first word of the input tensor")]
    input_channels: Annotated[int, Word("input", "channels of the input map")]
    input_height: Annotated[int, Word("input", "rows of the input map")]
    input_width: Annotated[int, Word("input", "columns of the input map")]
    input_mantissa_bits: Annotated[int, Word("input", "width of a stored mantissa")]
    input_signed: Annotated[int, Word("input", "1 if mantissas are two's complement")]
    input_exponent_bits: Annotated[int, Word("input", "width of a block's exponent offset")]
    input_block_size: Annotated[int, Word("input", "channels that share an exponent")]

    vectors: Annotated[int, Word("array", "vectors of c_vec input channels")]
    kernel_height: Annotated[int, Word("array", "rows of the filter")]
    kernel_width: Annotated[int, Word("array", "columns of the filter")]
    streams: Annotated[int, Word("array", "1 if the map goes to the layer behind, and not to memory")]
    depthwise_windows: Annotated[int, Word("array", "1 if all taps of a depthwise filter multiply in one cycle")]
    weight_digits: Annotated[int, Word("array", "digits of a weight; each is multiplied by each of the map's")]
    activation_digits: Annotated[int, Word("array", "digits of a mantissa of the map")]
    digits_side_by_side: Annotated[int, Word("array", "1 if two of these multiply at once, each on half of the lanes")]
    stride_vertical: Annotated[int, Word("array", "input rows between array rows")]
    stride_horizontal: Annotated[int, Word("array", "input columns between array columns")]
    dilation_vertical: Annotated[int, Word("array", "input rows between filter rows")]
    dilation_horizontal: Annotated[int, Word("array", "input columns between filter columns")]
    input_dilation_vertical: Annotated[int, Word("array", "1, or rows from one input row to the next, zeros between")]
    input_dilation_horizontal: Annotated[int, Word("array", "the same of columns; stride and dilation are 1 then")]
    pad_top: Annotated[int, Word("array", "rows above the map; negative crops")]
    pad_left: Annotated[int, Word("array", "columns left of the map; negative crops")]
    pad_mode: Annotated[int, Word("array", "beyond the map: 0 zero, 1 the edge repeated, 2 the map reflected")]
    pad_value: Annotated[int, Word("array", "what a pass finds beyond the map, in accumulator LSBs", 2)]
    array_height: Annotated[int, Word("array", "rows of the accumulator map, before pooling")]
    array_width: Annotated[int, Word("array", "columns of the accumulator map, before pooling")]
    output_channels: Annotated[int, Word("array", "channels of the output map")]
    channel_tiles: Annotated[int, Word("array", "tiles of k_vec output channels")]
    channel_parts: Annotated[int, Word("array", "parts of the channel tiles; all spatial tiles pass for each in turn")]
    part_channel_tiles: Annotated[int, Word("array", "channel tiles of a part; the last may have fewer")]
    tile_height: Annotated[int, Word("array", "output rows of a spatial tile")]
    tile_width: Annotated[int, Word("array", "output columns of a spatial tile")]
    tiles_vertical: Annotated[int, Word("array", "spatial tiles of a part from top to bottom")]
    tiles_horizontal: Annotated[int, Word("array", "spatial tiles of a part from left to right")]

    weight_address: Annotated[int, Word("weight", "first word of the layer in the weight memory")]
    keeps_weights: Annotated[int, Word("weight", "1 if a part's stay on chip from its first spatial tile on")]
    ahead_weight_address: Annotated[int, Word("weight", "first word of what runs next in the weight memory")]
    ahead_weight_beats: Annotated[int, Word("weight", "beats that are read of it while this layer ends")]
    weight_mantissa_bits: Annotated[int, Word("weight", "width of a stored mantissa")]
    weight_exponent_bits: Annotated[int, Word("weight", "width of a block's exponent offset")]
    weight_block_size: Annotated[int, Word("weight", "input channels that share an exponent")]
    bias_bits: Annotated[int, Word("weight", "width of a stored bias; 0 without bias")]

    accumulator_shift: Annotated[int, Word("tail", "left shift of accumulator + bias")]

    residual: Annotated[int, Word("residual", "0 none, 1 added, 2 subtracted, 3 multiplied")]
    residual_broadcast: Annotated[int, Word("residual", "1 if the residual is one position, which meets every other")]
    residual_address: Annotated[int, Word("residual", "first word of the residual tensor")]
    residual_mantissa_bits: Annotated[int, Word("residual", "width of a stored mantissa")]
    residual_signed: Annotated[int, Word("residual", "1 if mantissas are two's complement")]
    residual_exponent_bits: Annotated[int, Word("residual", "width of a block's exponent offset")]
    residual_block_size: Annotated[int, Word("residual", "channels that share an exponent")]
    residual_shift: Annotated[int, Word("residual", "left shift that aligns the residual")]

    activation: Annotated[int, Word("activation", "0 none, 1 clip, 2 PRelu, 3 table, 4 row scale, 5 column scale")]
    clip_low: Annotated[int, Word("activation", "smallest value that clip lets through", 2)]
    clip_high: Annotated[int, Word("activation", "largest value that clip lets through", 2)]
    table_address: Annotated[int, Word("activation", "first word of the table in the weight memory")]
    table_shift: Annotated[int, Word("activation", "right shift, rounded, that makes a value an index")]
    table_offset: Annotated[int, Word("activation", "index of the value 0; indices saturate")]

    pool: Annotated[int, Word("pool", "0 none, 1 max, 2 average")]
    pool_height: Annotated[int, Word("pool", "rows of the window")]
    pool_width: Annotated[int, Word("pool", "columns of the window")]
    pool_stride_vertical: Annotated[int, Word("pool", "array rows between windows")]
    pool_stride_horizontal: Annotated[int, Word("pool", "array columns between windows")]
    pool_pad_top: Annotated[int, Word("pool", "padded rows above the array map")]
    pool_pad_left: Annotated[int, Word("pool", "padded columns left of the array map")]
    pool_pad_bottom: Annotated[int, Word("pool", "padded rows below the array map")]
    pool_pad_right: Annotated[int, Word("pool", "padded columns right of the array map")]
    pool_count_padding: Annotated[int, Word("pool", "1 if an average counts padded positions")]
    reciprocal_shift: Annotated[int, Word("pool", "binary places of an average's reciprocal")]

    output_address: Annotated[int, Word("output", "first word of the output tensor")]
    output_height: Annotated[int, Word("output", "rows of the output map")]
    output_width: Annotated[int, Word("output", "columns of the output map")]
    output_mantissa_bits: Annotated[int, Word("output", "width of a stored mantissa")]
    output_signed: Annotated[int, Word("output", "1 if mantissas are two's complement")]
    output_exponent_bits: Annotated[int, Word("output", "width of a block's exponent offset")]
    output_block_size: Annotated[int, Word("output", "channels that share an exponent")]
    output_exponent_range: Annotated[int, Word("output", "largest exponent offset")]
    output_exponent_shift: Annotated[int, Word("output", "base exponent minus the exponent of the tail's LSB")]
    output_words: Annotated[int, Word("output", "words of the output tensor")]


def _fields() -> tuple[Field, ...]:
    hints = get_type_hints(LayerProgram, include_extras=True)
    words: dict[str, Word] = {name: hint.__metadata__[0] for name, hint in hints.items()}
    return tuple(Field(name, word.section, word.doc, word.words) for name, word in words.items())


FIELDS = _fields()
LAYER_BEATS = -(-sum(field.words for field in FIELDS) // WORDS_OF_BEAT)
LAYER_WORDS = LAYER_BEATS * WORDS_OF_BEAT
AHEAD_BEATS = 2 * LAYER_BEATS  # of records that are read while a layer runs: two layers may run together


@dataclass(frozen=True)
class Program:
    """All layers in order; sizes of the memories, and where the inputs lie in the feature memory, in 64-bit words."""

    layers: tuple[LayerProgram, ...]
    feature_words: int
    weight_words: int
    input_words: int
    input_address: int


def encode_program(program: Program) -> NDArray[np.int32]:
    """`program.bin` as its words. Raises OverflowError if a field does not fit its words (a bug)."""
    header = [MAGIC, VERSION, len(program.layers), LAYER_WORDS]
    header += [program.feature_words, program.weight_words, program.input_words, program.input_address]
    stream = b"".join(value.to_bytes(4, "little") for value in header).ljust(4 * HEADER_WORDS, b"\0")
    stream += b"".join(map(_encode_layer, program.layers))
    return np.frombuffer(stream, "<i4")


def _encode_layer(layer: LayerProgram) -> bytes:
    values: list[tuple[int, int]] = [(getattr(layer, field.name), field.words) for field in FIELDS]
    record = b"".join(value.to_bytes(4 * words, "little", signed=True) for value, words in values)
    return record.ljust(4 * LAYER_WORDS, b"\0")


def decode_program(words: NDArray[np.int32]) -> Program:
    """The inverse of `encode_program`. Raises BuildError where the words are not a program of this version."""
    header = [int(word) for word in words[:HEADER_WORDS]]
    if len(header) < HEADER_WORDS or header[:2] != [MAGIC, VERSION] or header[3] != LAYER_WORDS:
        raise BuildError(
            "program.bin is not a program of this version of bfpc", where="program.bin", fix="compile again"
        )
    count = header[2]
    if words.size != HEADER_WORDS + count * LAYER_WORDS:
        raise BuildError(f"program.bin should hold {count} layers", where="program.bin", fix="compile again")
    records = words[HEADER_WORDS:].astype("<i4").reshape(count, LAYER_WORDS)
    return Program(tuple(_decode_layer(record.tobytes()) for record in records), *header[4:8])


def _decode_layer(record: bytes) -> LayerProgram:
    values, start = {}, 0
    for field in FIELDS:
        end = start + 4 * field.words
        values[field.name] = int.from_bytes(record[start:end], "little", signed=True)
        start = end
    return LayerProgram(**values)
