"""program.bin: what is encoded is decoded, and anything else is refused."""

from __future__ import annotations

import re
import struct
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfpc.backend.program import (
    FIELDS,
    HEADER_WORDS,
    LAYER_WORDS,
    LayerProgram,
    Program,
    decode_program,
    encode_program,
)
from bfpc.errors import BuildError

layers = st.builds(
    LayerProgram,
    **{field.name: st.integers(-(1 << 32 * field.words - 1), (1 << 32 * field.words - 1) - 1) for field in FIELDS},
)
programs = st.builds(Program, st.lists(layers, max_size=3).map(tuple), *[st.integers(0, 2**31 - 1)] * 4)


@given(programs)
def test_decode_inverts_encode(program: Program) -> None:
    assert decode_program(encode_program(program)) == program


def test_layout_of_the_file() -> None:
    layer = LayerProgram(**{field.name: index for index, field in enumerate(FIELDS)})
    content = encode_program(Program((layer,), 11, 22, 33, 44)).tobytes()
    assert content[:4] == b"CPFB"
    assert struct.unpack_from("<8i", content) == (0x42465043, 6, 1, LAYER_WORDS, 11, 22, 33, 44)
    position = 4 * HEADER_WORDS
    for index, field in enumerate(FIELDS):
        assert struct.unpack_from("<q" if field.words == 2 else "<i", content, position) == (index,)
        position += 4 * field.words
    beat = 512 // 8
    assert len(content) == 4 * HEADER_WORDS + -(-(position - 4 * HEADER_WORDS) // beat) * beat
    assert not any(content[position:])


def test_fields_are_those_of_the_record_and_documented() -> None:
    assert [field.name for field in FIELDS] == [field.name for field in fields(LayerProgram)]
    assert [field.name for field in FIELDS if field.words == 2] == ["pad_value", "clip_low", "clip_high"]
    assert all(re.fullmatch(r"[a-z_]+", field.name) and field.doc and field.section for field in FIELDS)


@pytest.mark.parametrize("word", [0, 1, 3], ids=["magic", "version", "record size"])
def test_a_foreign_header_is_refused(word: int) -> None:
    words = encode_program(Program((), 1, 2, 3, 0)).copy()
    words[word] += 1
    with pytest.raises(BuildError, match="not a program of this version"):
        decode_program(words)


def test_a_truncated_program_is_refused() -> None:
    words = encode_program(Program((), 1, 2, 3, 0)).copy()
    words[2] = 1
    with pytest.raises(BuildError, match="should hold 1 layers"):
        decode_program(words)
    with pytest.raises(BuildError):
        decode_program(np.zeros(0, np.int32))
