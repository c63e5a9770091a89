"""The accelerator's control registers: what its s_axilite port has at which address.

Vitis HLS lays them out (UG1399, "S_AXILITE Control Register Map"): four words of control and interrupts, then the
kernel's arguments in their order, each followed by a word that is kept free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CONTROL = 0x00  # bits: start, done (cleared by reading), idle, ready
START, DONE = 1 << 0, 1 << 1
FIRST_ARGUMENT = 0x10


@dataclass(frozen=True)
class Register:
    """An argument of the kernel. bits: 64 of a memory's address, whose low word comes first, or 32 of a number."""

    name: str
    offset: int
    bits: Literal[32, 64]
    doc: str


def _arguments(*arguments: tuple[str, Literal[32, 64], str]) -> tuple[Register, ...]:
    registers, offset = [], FIRST_ARGUMENT
    for name, bits, doc in arguments:
        registers.append(Register(name, offset, bits, doc))
        offset += bits // 8 + 4
    return tuple(registers)


REGISTERS = _arguments(
    ("features", 64, "the feature memory, where a layer's input is read"),
    ("residuals", 64, "the feature memory again, where a residual is read"),
    ("outputs", 64, "the feature memory again, where outputs are written"),
    ("weights", 64, "the weight memory: weights.bin"),
    ("program", 64, "the program: program.bin"),
    ("on_chip_features", 64, "the first words of the feature memory, which lie on chip"),
    ("on_chip_residuals", 64, "the same again"),
    ("on_chip_outputs", 64, "the same again"),
    ("first_layer", 32, "the layer to begin with, 0 for the first"),
    ("layer_count", 32, "how many layers run"),
)
