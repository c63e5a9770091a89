"""The HLS project as text: the accelerator's templates filled with an architecture and the program's fields."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import accumulate
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import (
    AHEAD_WEIGHT_BEATS,
    BEAT_WORDS,
    CHUNK_POSITIONS,
    FILL_LATENCY,
    LINE_POSITIONS,
    MIN_STEP_CYCLES,
    OUTPUT_FIFO_DEPTH,
    STEP_FIFO_DEPTH,
    WEIGHT_FIFO_DEPTH,
    Architecture,
)
from bfpc.backend.program import HEADER_WORDS, LAYER_WORDS, MAGIC, MODES, VERSION, Field
from bfpc.backend.registers import CONTROL, DONE, REGISTERS, START
from bfpc.backend.templates import template_environment
from bfpc.backend.units import make_units
from bfpc.backend.weight_stream import SLOPE_BITS
from bfpc.numerics.format import MAX_EXPONENT_RANGE
from bfpc.numerics.layer import SLOPE_SHIFT, TABLE_BITS, TABLE_ENTRIES

SUFFIX = ".j2"


def render(architecture: Architecture, fields: Sequence[Field]) -> dict[str, str]:
    """The files of the folder `hls/`, path to text. `fields` are those of one layer's program record, in order."""
    environment = template_environment("hls")
    environment.filters["initializer"] = _initializer
    ends = list(accumulate((field.words for field in fields), initial=0))
    context = {
        "architecture": architecture,
        "units": make_units(architecture),
        "beat_words": BEAT_WORDS,
        "min_step_cycles": MIN_STEP_CYCLES,
        "fill_latency": FILL_LATENCY,
        "line_positions": LINE_POSITIONS,
        "chunk_positions": CHUNK_POSITIONS,
        "weight_fifo_depth": WEIGHT_FIFO_DEPTH,
        "ahead_weight_beats": AHEAD_WEIGHT_BEATS,
        "step_fifo_depth": STEP_FIFO_DEPTH,
        "output_fifo_depth": OUTPUT_FIFO_DEPTH,
        "exponent_bits": MAX_EXPONENT_RANGE.bit_length(),
        "slope_bits": SLOPE_BITS,
        "slope_shift": SLOPE_SHIFT,
        "table_bits": TABLE_BITS,
        "table_entries": TABLE_ENTRIES,
        "fields": fields,
        "offsets": {field.name: start for field, start in zip(fields, ends, strict=False)},
        "layer_words": LAYER_WORDS,
        "header_words": HEADER_WORDS,
        "modes": MODES,
        "magic": MAGIC,
        "version": VERSION,
        "control": CONTROL,
        "start": START,
        "done": DONE,
        "registers": REGISTERS,
    }
    templates = sorted(name for name in environment.list_templates() if PurePosixPath(name).suffix == SUFFIX)
    return {name.removesuffix(SUFFIX): environment.get_template(name).render(context) for name in templates}


def _initializer(numbers: NDArray[np.integer]) -> str:
    """A C++ array's elements in braces, words in hexadecimal."""
    style = "{:#x}" if numbers.dtype == np.uint64 else "{}"
    text = ", ".join(style.format(number) for number in numbers.flat)
    return textwrap.fill(f"{{{text}}}", 110, subsequent_indent=" " * 6)
