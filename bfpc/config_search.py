"""The config's sections on how `precision: auto` chooses formats."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from bfpc.config_sections import MULTIPLIED_BITS, Section, listed, one_of
from bfpc.numerics.format import BLOCK_SIZES, MAX_EXPONENT_RANGE, MAX_MANTISSA_BITS, MIN_MANTISSA_BITS

Widths = Annotated[tuple[Annotated[int, one_of(*MULTIPLIED_BITS)], ...], Strict(False), Field(min_length=1)]
BlockSizes = Annotated[tuple[Annotated[int, one_of(*BLOCK_SIZES)], ...], Strict(False), Field(min_length=1)]
Octaves = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_EXPONENT_RANGE)], ...], Strict(False), Field(min_length=1)]
_WIDTHS_TEXT = f"a list of whole numbers from {MIN_MANTISSA_BITS} to {MAX_MANTISSA_BITS}"
_BLOCK_SIZES_TEXT = f"a list of block sizes, each one of {listed(BLOCK_SIZES)}"


class Budget(Section):
    """What `precision: auto` must keep to: with `at_least` the lowest cost, with `at_most` the highest accuracy.

    `accuracy` is a score that `bfpc evaluate` prints, or a function of your own (see `measure`).
    """

    accuracy: str = Field(
        "sqnr_db",
        title="what accuracy is",
        description="sqnr_db, a score such as top1_agreement, or a function module:name",
    )
    at_least: float | None = Field(
        None, title="accuracy that must be reached, at the lowest cost", description="a number, or null"
    )
    cost: Literal["weight_bits", "dram_bytes", "cycles", "area"] = Field(
        "weight_bits", title="what costs", description="weight_bits, dram_bytes, cycles or area"
    )
    at_most: float | None = Field(
        None, gt=0, title="cost that may be spent, for the highest accuracy", description="a number above 0, or null"
    )

    @model_validator(mode="after")
    def _bounds_one(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            fix = "give at_least: to bound the accuracy, or at_most: to bound the cost"
            raise PydanticCustomError("no_bound", "bounds the accuracy or the cost, one of them", {"fix": fix})
        return self


class Search(Section):
    """What `precision: auto` chooses from, for each layer, beside the formats that the config gives.

    `checks`: how many choices are tried as a whole to improve on what the sensitivities suggest.
    """

    activation_bits: Widths = Field((4, 5, 6, 8), title="widths that maps may take", description=_WIDTHS_TEXT)
    activation_block_sizes: BlockSizes = Field(
        (16, 32), title="block sizes that maps may take", description=_BLOCK_SIZES_TEXT
    )
    weight_bits: Widths = Field((2, 3, 4, 5, 6, 7, 8), title="widths that weights may take", description=_WIDTHS_TEXT)
    weight_block_sizes: BlockSizes = Field(
        (16, 32, 64), title="block sizes that weights may take", description=_BLOCK_SIZES_TEXT
    )
    weight_exponent_ranges: Octaves = Field(
        (3, 7),
        title="exponent ranges that weights may take",
        description=f"a list of whole numbers of octaves from 0 to {MAX_EXPONENT_RANGE}",
    )
    checks: int = Field(
        32, ge=0, le=1 << 16, title="choices that are tried as a whole", description="a whole number from 0 to 65536"
    )
