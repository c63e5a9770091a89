"""The sections of the config, as validated, frozen models."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bfpc.numerics.format import BLOCK_SIZES, MAX_EXPONENT_RANGE, MAX_MANTISSA_BITS, MIN_MANTISSA_BITS

LANES = (4, 8, 16, 32, 64, 128, 256)
ACCUMULATOR_WIDTHS = (32, 40, 48)
DEPTHWISE_WINDOWS = tuple(range(1, 8))
MULTIPLIED_BITS = tuple(range(MIN_MANTISSA_BITS, MAX_MANTISSA_BITS + 1))
Auto = Literal["auto"]
Position = Literal["first", "last"]


def _one_of(*allowed: int | str) -> AfterValidator:
    def check(value: int | str) -> int | str:
        if value not in allowed:
            raise PydanticCustomError("one_of", "not an allowed value")
        return value

    return AfterValidator(check)


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


class Section(BaseModel):
    """Base of the models. A field's description says what it may hold; messages quote it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without defaults, so that it reads back equal: a section may hold just what differs from another."""
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Format(Section):
    """A BFP format without its exponent. Depthwise weights need no more: the taps of a channel are their blocks."""

    mantissa_bits: int = Field(
        8,
        ge=MIN_MANTISSA_BITS,
        le=MAX_MANTISSA_BITS,
        description=f"a whole number from {MIN_MANTISSA_BITS} to {MAX_MANTISSA_BITS}",
    )
    exponent_range: int = Field(
        3, ge=0, le=MAX_EXPONENT_RANGE, description=f"a whole number of octaves from 0 to {MAX_EXPONENT_RANGE}"
    )


class BlockFormat(Format):
    """The format of dense weights: blocks of input channels share an exponent."""

    block_size: Annotated[int, _one_of(*BLOCK_SIZES)] = Field(16, description=f"one of {_listed(BLOCK_SIZES)}")


class ActivationFormat(BlockFormat):
    """Feature maps. `unsigned`: store a map that is proved non-negative without a sign, one bit more precise.

    `extra_sign_bit`: other maps have their sign beside the `mantissa_bits`, and so the same precision, up to 12 bits in
    all. The array multiplies magnitudes: only memory pays for this.
    """

    exponent_range: int = Field(
        7, ge=0, le=MAX_EXPONENT_RANGE, description=f"a whole number of octaves from 0 to {MAX_EXPONENT_RANGE}"
    )
    unsigned: bool = Field(True, description="true or false")
    extra_sign_bit: bool = Field(False, description="true or false")

    def stored_bits(self, *, signed: bool) -> int:
        """The width of a stored mantissa."""
        return min(self.mantissa_bits + (signed and self.extra_sign_bit), MAX_MANTISSA_BITS)


class Formats(Section):
    """The formats of everything that no override names. `input` and `output` hold what differs from `activation`."""

    activation: ActivationFormat = ActivationFormat()
    weight: BlockFormat = BlockFormat()
    depthwise_weight: Format = Format()
    input: ActivationFormat = ActivationFormat()
    output: ActivationFormat = ActivationFormat()


class Override(Section):
    """Formats of the layers that all given selectors match; what is not given stays.

    A layer's `activation` is the map it writes; maps that are concatenated take the format of the `Concat`, whose name
    ends in `.aligned` where its parts had to be filled up to groups of `k_vec` channels. Layers that are split for the
    buffers have names of their own; `name` is a glob over layer names.
    """

    name: str | None = Field(None, description="a layer name; * and ? stand for any characters")
    operator: Literal["Conv", "Depthwise", "Pass", "Concat"] | None = Field(
        None, description="Conv, Depthwise, Pass or Concat"
    )
    position: Position | None = Field(None, description="first or last")
    activation: ActivationFormat = ActivationFormat()
    weight: BlockFormat = BlockFormat()

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not any((self.name, self.operator, self.position)):
            raise PydanticCustomError("no_selector", "selects no layer", {"fix": "add name:, operator: or position:"})
        return self

    def selectors(self) -> str:
        """What it selects, as one reads it in the config."""
        given = {key: getattr(self, key) for key in ("name", "operator", "position")}
        return ", ".join(f"{key}: {value}" for key, value in given.items() if value is not None)

    def matches(self, name: str, operator: str, positions: Iterable[Position]) -> bool:
        return (
            (self.name is None or fnmatchcase(name, self.name))
            and self.operator in (None, operator)
            and (self.position is None or self.position in positions)
        )


class Passes(Section):
    """Optional passes, which make up for what quantization loses."""

    equalize: bool = Field(False, description="true or false")
    choose_windows: bool = Field(False, description="true or false")
    choose_exponents: bool = Field(False, description="true or false")
    compensate_rounding: bool = Field(True, description="true or false")
    correct_bias: bool = Field(True, description="true or false")


class Calibration(Section):
    """How much of the calibration data is used."""

    images: int = Field(8, ge=1, le=1_000_000, description="a whole number from 1 to 1000000")


SMALLEST_DIVISOR = 1e-6  # of pixels, which are 0 to 255 and stay far within float32
Deviation = Annotated[float, Field(ge=SMALLEST_DIVISOR)]
Deviations = Annotated[tuple[Deviation, ...], Strict(False), Field(min_length=1, max_length=4)]
PerChannel = Annotated[tuple[float, ...], Strict(False), Field(min_length=1, max_length=4)]
MAX_SIDE = 1 << 15
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Size = Annotated[tuple[Side, Side], Strict(False)]


class Preprocessing(Section):
    """From a picture to a network input: resize, crop the center, then (x / divide - mean) / std per channel.

    Pixels are 0 to 255. `mean` and `std` stand in the order of `channels`, one number each or one for all.
    """

    resize: Side | None = Field(None, description=f"length of the shorter side, up to {MAX_SIDE} pixels, or null")
    crop: Size | None = Field(None, description="[height, width] in pixels, or null for the network's input size")
    channels: Literal["RGB", "BGR"] = Field("RGB", description="RGB or BGR")
    divide: float = Field(255.0, ge=SMALLEST_DIVISOR, description=f"a number, at least {SMALLEST_DIVISOR:g}")
    mean: PerChannel = Field((0.0,), description="a list of numbers, one per channel")
    std: Deviations = Field((1.0,), description=f"a list of numbers, at least {SMALLEST_DIVISOR:g}, one per channel")


class Verify(Section):
    """What `bfpc verify` demands of every output; null demands nothing."""

    min_sqnr_db: float | None = Field(None, description="decibels, or null")
    min_top1_agreement: float | None = Field(None, ge=0, le=1, description="a fraction from 0 to 1, or null")
    min_score: dict[str, float] = Field({}, description="a mapping from names of scores to numbers, as {top1: 0.9}")


Lanes = Annotated[int | Auto, _one_of("auto", *LANES)]
_LANES_TEXT = f"auto or one of {_listed(LANES)}"


class ArchitectureConfig(Section):
    """The size of the accelerator; `auto` takes the smallest that serves the network well.

    `activation_bits` and `weight_bits` are of the mantissas that the array multiplies at a time: a dense layer with
    wider ones, their sign not counted, takes several passes. `auto` takes the widest in use, so that one pass is
    enough. `depthwise_window` is the side of the largest depthwise filter of which all taps multiply in one cycle;
    larger ones take a cycle for each. `auto` takes the largest in use. `on_chip_kilobytes` is a memory on chip in which
    maps stay from the layer that makes them to those that read them, as many as it holds. `multipliers`: what
    the area model counts the array's products as; in a DSP lie several narrow ones.
    """

    c_vec: Lanes = Field("auto", description=_LANES_TEXT)
    k_vec: Lanes = Field("auto", description=_LANES_TEXT)
    block: Annotated[int | Auto, _one_of("auto", *BLOCK_SIZES)] = Field(
        "auto", description=f"auto or one of {_listed(BLOCK_SIZES)}"
    )
    activation_bits: Annotated[int | Auto, _one_of("auto", *MULTIPLIED_BITS)] = Field(
        "auto", description=f"auto or one of {_listed(MULTIPLIED_BITS)}"
    )
    weight_bits: Annotated[int | Auto, _one_of("auto", *MULTIPLIED_BITS)] = Field(
        "auto", description=f"auto or one of {_listed(MULTIPLIED_BITS)}"
    )
    accumulator_bits: Annotated[int | Auto, _one_of("auto", *ACCUMULATOR_WIDTHS)] = Field(
        "auto", description=f"auto or one of {_listed(ACCUMULATOR_WIDTHS)}"
    )
    depthwise_window: Annotated[int | Auto, _one_of("auto", *DEPTHWISE_WINDOWS)] = Field(
        "auto", description=f"auto or one of {_listed(DEPTHWISE_WINDOWS)}"
    )
    feature_depth: int = Field(4096, ge=64, le=1 << 24, description="a whole number of vectors from 64 to 2**24")
    accumulator_positions: int = Field(
        1024, ge=64, le=1 << 24, description="a whole number of positions from 64 to 2**24"
    )
    on_chip_kilobytes: int = Field(
        2048, ge=0, le=1 << 22, description="a whole number of 1024 bytes up to 2**22; 0 for none"
    )
    multipliers: Literal["luts", "dsps"] = Field("luts", description="luts or dsps")
    clock_mhz: float = Field(300.0, gt=0, description="a number above 0")
    dram_gigabytes_per_second: float = Field(19.2, gt=0, description="a number above 0")


Widths = Annotated[tuple[Annotated[int, _one_of(*MULTIPLIED_BITS)], ...], Strict(False), Field(min_length=1)]
BlockSizes = Annotated[tuple[Annotated[int, _one_of(*BLOCK_SIZES)], ...], Strict(False), Field(min_length=1)]
Octaves = Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_EXPONENT_RANGE)], ...], Strict(False), Field(min_length=1)]
_WIDTHS_TEXT = f"a list of whole numbers from {MIN_MANTISSA_BITS} to {MAX_MANTISSA_BITS}"
_BLOCK_SIZES_TEXT = f"a list of block sizes, each one of {_listed(BLOCK_SIZES)}"


class Budget(Section):
    """What `precision: auto` must keep to: with `at_least` the lowest cost, with `at_most` the highest accuracy.

    `accuracy` is a score that `bfpc evaluate` prints, or a function of your own (see `measure`).
    """

    accuracy: str = Field("sqnr_db", description="sqnr_db, a score such as top1_agreement, or a function module:name")
    at_least: float | None = Field(None, description="a number, or null")
    cost: Literal["weight_bits", "dram_bytes", "cycles", "area"] = Field(
        "weight_bits", description="weight_bits, dram_bytes, cycles or area"
    )
    at_most: float | None = Field(None, gt=0, description="a number above 0, or null")

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

    activation_bits: Widths = Field((4, 5, 6, 8), description=_WIDTHS_TEXT)
    activation_block_sizes: BlockSizes = Field((16, 32), description=_BLOCK_SIZES_TEXT)
    weight_bits: Widths = Field((2, 3, 4, 5, 6, 7, 8), description=_WIDTHS_TEXT)
    weight_block_sizes: BlockSizes = Field((16, 32, 64), description=_BLOCK_SIZES_TEXT)
    weight_exponent_ranges: Octaves = Field(
        (3, 7), description=f"a list of whole numbers of octaves from 0 to {MAX_EXPONENT_RANGE}"
    )
    checks: int = Field(32, ge=0, le=1 << 16, description="a whole number from 0 to 65536")


class Training(Section):
    """How `bfpc retrain` trains.

    `batch` is of one process. The learning rate rises over the first steps and falls to 0 along a cosine. Without
    labels the float network teaches; with labels `distillation` is its share of the loss, and 1 leaves the labels to
    the figures. Class scores are compared at a `temperature`. `flip` mirrors half of the images, `crop_padding` shifts
    them by up to so many pixels and fills up with zeros. `mixed_precision` is for GPUs: the products of mantissas stay
    exact.
    """

    batch: int = Field(64, ge=1, le=1 << 16, description="a whole number of images from 1 to 65536")
    learning_rate: float = Field(1e-4, gt=0, description="a number above 0")
    batch_norm: Literal["folded", "kept"] = Field("folded", description="folded or kept")
    distillation: float = Field(0.5, ge=0, le=1, description="a fraction from 0 to 1")
    temperature: float = Field(4.0, gt=0, description="a number above 0")
    flip: bool = Field(False, description="true or false")
    crop_padding: int = Field(0, ge=0, le=1 << 12, description="a whole number of pixels from 0 to 4096")
    mixed_precision: bool = Field(True, description="true or false")
    seed: int = Field(0, ge=0, le=(1 << 32) - 1, description="a whole number from 0 to 2**32 - 1")
