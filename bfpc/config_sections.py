"""The sections of the config, as validated, frozen models: formats, passes, data, training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from bfpc.numerics.format import BLOCK_SIZES, MAX_EXPONENT_RANGE, MAX_MANTISSA_BITS, MIN_MANTISSA_BITS

MULTIPLIED_BITS = tuple(range(MIN_MANTISSA_BITS, MAX_MANTISSA_BITS + 1))
Position = Literal["first", "last"]


@dataclass(frozen=True)
class OneOf:
    """A value that is one of those allowed."""

    allowed: tuple[int | str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.allowed)}

    def _check(self, value: int | str) -> int | str:
        if value not in self.allowed:
            raise PydanticCustomError("one_of", "not an allowed value")
        return value


def one_of(*allowed: int | str) -> OneOf:
    return OneOf(allowed)


def listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


class Section(BaseModel):
    """Base of the models. A field's description says what it may hold; messages quote it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without defaults, so that it reads back equal: a section may hold just what differs from another."""
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Format(Section):
    """The format of depthwise weights: the taps of a channel share an exponent."""

    mantissa_bits: int = Field(
        8,
        ge=MIN_MANTISSA_BITS,
        le=MAX_MANTISSA_BITS,
        title="width of a mantissa",
        description=f"a whole number from {MIN_MANTISSA_BITS} to {MAX_MANTISSA_BITS}",
    )
    exponent_range: int = Field(
        3,
        ge=0,
        le=MAX_EXPONENT_RANGE,
        title="span of the exponents that a tensor can store",
        description=f"a whole number of octaves from 0 to {MAX_EXPONENT_RANGE}",
    )


class BlockFormat(Format):
    """The format of dense weights: blocks of input channels share an exponent."""

    block_size: Annotated[int, one_of(*BLOCK_SIZES)] = Field(
        16, title="channels that share an exponent", description=f"one of {listed(BLOCK_SIZES)}"
    )


class ActivationFormat(BlockFormat):
    """Feature maps. `unsigned`: store a map that is proved non-negative without a sign, one bit more precise.

    `extra_sign_bit`: other maps have their sign beside the `mantissa_bits`, and so the same precision, up to 12 bits in
    all. The array multiplies magnitudes: only memory pays for this.
    """

    exponent_range: int = Field(
        7,
        ge=0,
        le=MAX_EXPONENT_RANGE,
        title="span of the exponents that a tensor can store",
        description=f"a whole number of octaves from 0 to {MAX_EXPONENT_RANGE}",
    )
    unsigned: bool = Field(
        True, title="maps that are proved non-negative are stored without a sign", description="true or false"
    )
    extra_sign_bit: bool = Field(
        False, title="the sign of other maps comes on top of mantissa_bits", description="true or false"
    )

    def stored_bits(self, *, signed: bool) -> int:
        """The width of a stored mantissa."""
        return min(self.mantissa_bits + (signed and self.extra_sign_bit), MAX_MANTISSA_BITS)


class Formats(Section):
    """The formats of everything that no override names. `input` and `output` hold what differs from `activation`."""

    activation: ActivationFormat = ActivationFormat()
    weight: BlockFormat = BlockFormat()
    depthwise_weight: Format = Format()
    input: ActivationFormat = Field(ActivationFormat(), title="What differs for the network's inputs")
    output: ActivationFormat = Field(ActivationFormat(), title="What differs for the network's outputs")


class Override(Section):
    """Formats of the layers that all given selectors match; what is not given stays.

    A layer's `activation` is the map it writes; maps that are concatenated take the format of the `Concat`, whose name
    ends in `.aligned` where its parts had to be filled up to groups of `k_vec` channels. Layers that are split for the
    buffers have names of their own; `name` is a glob over layer names.
    """

    name: str | None = Field(
        None, title="the layers it is for, by name", description="a layer name; * and ? stand for any characters"
    )
    operator: Literal["Conv", "Depthwise", "Pass", "Concat"] | None = Field(
        None, title="the layers it is for, by operator", description="Conv, Depthwise, Pass or Concat"
    )
    position: Position | None = Field(
        None, title="the layer it is for, by its place among those with weights", description="first or last"
    )
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

    equalize: bool = Field(
        False, title="channels are scaled by powers of two, where they differ much", description="true or false"
    )
    choose_windows: bool = Field(
        False,
        title="exponent windows move down where what saturates loses less than the rest gains",
        description="true or false",
    )
    choose_exponents: bool = Field(
        False, title="the exponent of each block of weights is chosen by its error", description="true or false"
    )
    compensate_rounding: bool = Field(
        True, title="later weights make up for the rounding of earlier ones", description="true or false"
    )
    correct_bias: bool = Field(True, title="biases take over the shift of the mean", description="true or false")


class Calibration(Section):
    """How much of the calibration data is used."""

    images: int = Field(
        8,
        ge=1,
        le=1_000_000,
        title="calibration images that are used, at most",
        description="a whole number from 1 to 1000000",
    )


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

    resize: Side | None = Field(
        None,
        title="what a picture is scaled to before its middle is cut out",
        description=f"length of the shorter side, up to {MAX_SIDE} pixels, or null",
    )
    crop: Size | None = Field(
        None,
        title="size of the middle that is cut out",
        description="[height, width] in pixels, or null for the network's input size",
    )
    channels: Literal["RGB", "BGR"] = Field("RGB", title="order of the channels", description="RGB or BGR")
    divide: float = Field(
        255.0,
        ge=SMALLEST_DIVISOR,
        title="what pixels, 0 to 255, are divided by first",
        description=f"a number, at least {SMALLEST_DIVISOR:g}",
    )
    mean: PerChannel = Field(
        (0.0,), title="what is subtracted after that", description="a list of numbers, one per channel"
    )
    std: Deviations = Field(
        (1.0,),
        title="what is divided by in the end",
        description=f"a list of numbers, at least {SMALLEST_DIVISOR:g}, one per channel",
    )


class Verify(Section):
    """What `bfpc verify` demands of every output; null demands nothing."""

    min_sqnr_db: float | None = Field(
        None, title="signal to quantization noise that every output must reach", description="decibels, or null"
    )
    min_top1_agreement: float | None = Field(
        None,
        ge=0,
        le=1,
        title="share of images in which the largest score must be the float network's",
        description="a fraction from 0 to 1, or null",
    )
    min_score: dict[str, float] = Field(
        {}, title="scores that must be reached", description="a mapping from names of scores to numbers, as {top1: 0.9}"
    )


class Training(Section):
    """How `bfpc retrain` trains.

    `batch` is of one process. The learning rate rises over the first steps and falls to 0 along a cosine. Without
    labels the float network teaches; with labels `distillation` is its share of the loss, and 1 leaves the labels to
    the figures. Class scores are compared at a `temperature`. `flip` mirrors half of the images, `crop_padding` shifts
    them by up to so many pixels and fills up with zeros. `mixed_precision` is for GPUs: the products of mantissas stay
    exact.
    """

    batch: int = Field(
        64,
        ge=1,
        le=1 << 16,
        title="images of a step, in each process",
        description="a whole number of images from 1 to 65536",
    )
    learning_rate: float = Field(1e-4, gt=0, title="highest learning rate", description="a number above 0")
    batch_norm: Literal["folded", "kept"] = Field(
        "folded",
        title="whether batch normalization is trained folded into the weights, or beside them",
        description="folded or kept",
    )
    distillation: float = Field(
        0.5,
        ge=0,
        le=1,
        title="the float network's share of the loss, beside labels",
        description="a fraction from 0 to 1",
    )
    temperature: float = Field(
        4.0, gt=0, title="what class scores are divided by before they are compared", description="a number above 0"
    )
    flip: bool = Field(False, title="half of the images are mirrored", description="true or false")
    crop_padding: int = Field(
        0,
        ge=0,
        le=1 << 12,
        title="images are shifted by up to so much",
        description="a whole number of pixels from 0 to 4096",
    )
    mixed_precision: bool = Field(
        True, title="GPUs compute with narrower numbers; products of mantissas stay exact", description="true or false"
    )
    seed: int = Field(
        0, ge=0, le=(1 << 32) - 1, title="of all that is drawn", description="a whole number from 0 to 2**32 - 1"
    )
