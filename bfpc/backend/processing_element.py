"""The array's processing element as RTL, from the accelerator's own parameters: what the area model counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bfpc.backend.templates import template_environment

TOP = "processing_element"
FLOAT32_BITS = 32
FLOAT_OFFSET_BITS = 5  # of the shared exponents that a float32 accumulator takes
FLOAT_BIAS = 31  # so that dot products weigh from 2**-31 to 2**31


@dataclass(frozen=True)
class ProcessingElement:
    """lanes, block: powers of two. activation_bits, weight_bits: a multiplier's operands, signed.

    activation_range, weight_range: octaves of the exponent windows; a block's dot product is shifted by their sum at
    most. accumulator: an exact integer, or a float32, as block floating point has it elsewhere: then of one block.
    multiplier: `rows` adds partial products in carry chains, `operator` is what the tool makes of `*`.
    """

    lanes: int
    block: int
    activation_bits: int
    weight_bits: int
    activation_range: int = 7
    weight_range: int = 3
    accumulator: Literal["exact", "float32"] = "exact"
    exact_bits: int = 32
    multiplier: Literal["rows", "operator"] = "rows"

    @property
    def blocks(self) -> int:
        return self.lanes // self.block

    @property
    def dot_bits(self) -> int:
        """Width of a block's dot product."""
        return self.activation_bits + self.weight_bits + _log2(self.block)

    @property
    def most_shift(self) -> int:
        """How far an exact accumulator's element shifts a dot product at most."""
        return self.activation_range + self.weight_range

    @property
    def aligned_bits(self) -> int:
        """Width of a dot product after that: no more of it than an exact accumulator holds is needed."""
        return min(self.dot_bits + self.most_shift, max(self.dot_bits, self.exact_bits))

    @property
    def accumulator_bits(self) -> int:
        return FLOAT32_BITS if self.accumulator == "float32" else self.exact_bits

    @property
    def offset_bits(self) -> int:
        """Width of a block's exponent offset, the wider of the two."""
        if self.accumulator == "float32":
            return FLOAT_OFFSET_BITS
        return max(self.activation_range, self.weight_range).bit_length()


def render_processing_element(element: ProcessingElement) -> str:
    """SystemVerilog, its top module `processing_element`. Offsets are summed by it; each must keep to its range."""
    exact = element.accumulator == "exact"
    return (
        template_environment("rtl")
        .get_template("processing_element.sv.j2")
        .render(
            element=element,
            levels=_log2(element.block),
            block_levels=_log2(element.blocks),
            offset_bits=element.offset_bits,
            shift_bits=element.most_shift.bit_length() if exact else FLOAT_OFFSET_BITS + 1,
            aligned_bits=element.aligned_bits,
            bias=FLOAT_BIAS,
        )
    )


def _log2(power: int) -> int:
    return power.bit_length() - 1
