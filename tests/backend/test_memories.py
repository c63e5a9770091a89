"""The table of on-chip memories is what the C++ declares."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bfpc.backend.architecture import Architecture
from bfpc.backend.memories import Memory, on_chip_memories
from tests.backend.declared_memories import Declared, declared_memories, port_beats
from tests.backend.graphs import ARCHITECTURE
from tests.backend.hls_project import write_project
from tests.backend.integer_headers import with_ap_int

LARGE = replace(ARCHITECTURE, c_vec=128, k_vec=64, block=32, feature_depth=2048, accumulator_positions=512)
SQUARE = replace(ARCHITECTURE, c_vec=32, accumulator_bits=40, max_mantissa_bits=9, feature_bits=9)
DIGITS = replace(ARCHITECTURE, activation_bits=2, weight_bits=1)


def as_declared(memory: Memory, found: list[Declared]) -> Declared:
    """How many copies of an array its readers need, its declaration doesn't say."""
    names = (memory.function, memory.name)
    untold = any(each.copies is None for each in found if (each.function, each.name) == names)
    copies = None if untold else memory.copies
    return Declared(*names, memory.kind == "fifo", memory.depth, memory.bits, copies, memory.doubled)


@with_ap_int
@pytest.mark.parametrize("architecture", [LARGE, SQUARE, DIGITS], ids=["large", "square", "digits"])
def test_the_table_is_what_the_code_declares(architecture: Architecture, tmp_path: Path) -> None:
    found = declared_memories(write_project(architecture, tmp_path))
    listed = [as_declared(each, found) for each in on_chip_memories(architecture) if each.kind in ("fifo", "buffer")]
    missing, gone = Counter(found) - Counter(listed), Counter(listed) - Counter(found)
    assert not missing, f"declared, but not in bfpc/backend/memories.py: {list(missing)}; there instead: {list(gone)}"
    assert not gone, f"in bfpc/backend/memories.py, but not declared: {list(gone)}"


@with_ap_int
def test_the_ports_hold_what_their_directives_allow(tmp_path: Path) -> None:
    ports = [memory for memory in on_chip_memories(ARCHITECTURE) if memory.kind == "port"]
    assert {port.depth for port in ports} == port_beats(write_project(ARCHITECTURE, tmp_path))
