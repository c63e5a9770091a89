"""What is synthesized: processing elements of one block, by format, accumulator and multiplier, and for which FPGA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bfpc.backend.devices import Target
from bfpc.backend.processing_element import ProcessingElement

Accumulator = Literal["exact", "float32"]
Style = Literal["rows", "operator", "dsp"]


@dataclass(frozen=True)
class Format:
    """Mantissa bits of activations and weights, and the exact accumulator that serves deep networks."""

    activation_bits: int
    weight_bits: int
    exact_bits: int


BASELINE = "FP16, blocked (int12)"
FORMATS = {
    BASELINE: Format(12, 12, 48),
    "int8": Format(8, 8, 40),
    "int7": Format(7, 7, 40),
    "int5": Format(5, 5, 32),
    "int5/4": Format(5, 4, 32),
    "int4": Format(4, 4, 32),
}
ACCUMULATORS: tuple[Accumulator, ...] = ("float32", "exact")
STYLES: dict[Style, str] = {
    "rows": "partial products in carry chains, no DSPs",
    "operator": "the tool's own multipliers, no DSPs",
    "dsp": "multipliers in DSPs where the tool takes them",
}
TARGETS: dict[Target, str] = {"xcup": "AMD UltraScale+, LUTs", "cyclonev": "Intel Cyclone V, ALMs"}


@dataclass(frozen=True)
class Design:
    """A column and row of a table. block: also the lanes."""

    target: Target
    style: Style
    block: int
    format: str
    accumulator: Accumulator

    @property
    def element(self) -> ProcessingElement:
        format = FORMATS[self.format]
        return ProcessingElement(
            self.block,
            self.block,
            format.activation_bits,
            format.weight_bits,
            accumulator=self.accumulator,
            exact_bits=format.exact_bits,
            multiplier="rows" if self.style == "rows" else "operator",
        )


def all_designs() -> Iterator[Design]:
    """In the order of the page: both blocks for UltraScale+ in rows, blocks of 16 for what is compared with that."""
    tables: tuple[tuple[Target, Style, int], ...] = (
        ("xcup", "rows", 16),
        ("xcup", "rows", 32),
        ("xcup", "operator", 16),
        ("xcup", "dsp", 16),
        ("cyclonev", "rows", 16),
        ("cyclonev", "rows", 32),
        ("cyclonev", "dsp", 16),
    )
    for target, style, block in tables:
        for format in FORMATS:
            for accumulator in ACCUMULATORS:
                yield Design(target, style, block, format, accumulator)
