"""The config: what a user decides, as validated, frozen models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bfpc.config_faults import describe
from bfpc.config_file import read_config
from bfpc.numerics.format import BLOCK_SIZES, MAX_EXPONENT_RANGE, MAX_MANTISSA_BITS, MIN_MANTISSA_BITS

MIN_K_VEC, MIN_C_VEC = 32, 64  # of an array on `auto`
LANES = (4, 8, 16, 32, 64, 128, 256)
ACCUMULATOR_WIDTHS = (32, 40, 48)
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


class _Section(BaseModel):
    """Base of the models. A field's description says what it may hold; messages quote it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without defaults, so that it reads back equal: a section may hold just what differs from another."""
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Format(_Section):
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
    """Feature maps. `unsigned`: store a map that is proved non-negative without a sign, one bit more precise."""

    exponent_range: int = Field(
        7, ge=0, le=MAX_EXPONENT_RANGE, description=f"a whole number of octaves from 0 to {MAX_EXPONENT_RANGE}"
    )
    unsigned: bool = Field(True, description="true or false")


class Formats(_Section):
    """The formats of everything that no override names. `input` and `output` hold what differs from `activation`."""

    activation: ActivationFormat = ActivationFormat()
    weight: BlockFormat = BlockFormat()
    depthwise_weight: Format = Format()
    input: ActivationFormat = ActivationFormat()
    output: ActivationFormat = ActivationFormat()


class Override(_Section):
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


class Passes(_Section):
    """Optional passes."""

    correct_bias: bool = Field(True, description="true or false")


class Calibration(_Section):
    """How much of the calibration data is used."""

    images: int = Field(8, ge=1, description="a whole number, at least 1")


PerChannel = Annotated[tuple[float, ...], Strict(False), Field(min_length=1, max_length=4)]
Size = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], Strict(False)]


class Preprocessing(_Section):
    """From a picture to a network input: resize, crop the center, then (x / divide - mean) / std per channel.

    Pixels are 0 to 255. `mean` and `std` stand in the order of `channels`, one number each or one for all.
    """

    resize: int | None = Field(None, ge=1, description="length of the shorter side in pixels, or null")
    crop: Size | None = Field(None, description="[height, width] in pixels, or null for the network's input size")
    channels: Literal["RGB", "BGR"] = Field("RGB", description="RGB or BGR")
    divide: float = Field(255.0, gt=0, description="a number above 0")
    mean: PerChannel = Field((0.0,), description="a list of numbers, one per channel")
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Strict(False), Field(min_length=1, max_length=4)] = Field(
        (1.0,), description="a list of numbers above 0, one per channel"
    )


class Verify(_Section):
    """What `bfpc verify` demands of every output; null demands nothing."""

    min_sqnr_db: float | None = Field(None, description="decibels, or null")
    min_top1_agreement: float | None = Field(None, ge=0, le=1, description="a fraction from 0 to 1, or null")


Lanes = Annotated[int | Auto, _one_of("auto", *LANES)]
_LANES_TEXT = f"auto or one of {_listed(LANES)}"


class ArchitectureConfig(_Section):
    """The size of the accelerator; `auto` takes the smallest that serves the network well."""

    c_vec: Lanes = Field("auto", description=_LANES_TEXT)
    k_vec: Lanes = Field("auto", description=_LANES_TEXT)
    block: Annotated[int | Auto, _one_of("auto", *BLOCK_SIZES)] = Field(
        "auto", description=f"auto or one of {_listed(BLOCK_SIZES)}"
    )
    accumulator_bits: Annotated[int | Auto, _one_of("auto", *ACCUMULATOR_WIDTHS)] = Field(
        "auto", description=f"auto or one of {_listed(ACCUMULATOR_WIDTHS)}"
    )
    feature_depth: int = Field(4096, ge=64, description="a whole number of vectors, at least 64")
    accumulator_positions: int = Field(1024, ge=64, description="a whole number of positions, at least 64")
    clock_mhz: float = Field(300.0, gt=0, description="a number above 0")
    dram_gigabytes_per_second: float = Field(19.2, gt=0, description="a number above 0")


class ArraySize(NamedTuple):
    """c_vec: input channels per cycle of a processing element; k_vec: processing elements, one output channel each."""

    c_vec: int
    k_vec: int


@dataclass(frozen=True)
class LayerFormats:
    """What one layer stores: `activation` is the map it writes; depthwise layers use `depthwise_weight`."""

    activation: ActivationFormat
    weight: BlockFormat
    depthwise_weight: Format


class Config(_Section):
    """Everything a user decides."""

    formats: Formats = Formats()
    overrides: Annotated[tuple[Override, ...], Strict(False)] = Field((), description="a list of overrides")
    passes: Passes = Passes()
    calibration: Calibration = Calibration()
    preprocessing: Preprocessing = Preprocessing()
    verify: Verify = Verify()
    architecture: ArchitectureConfig = ArchitectureConfig()

    @model_validator(mode="after")
    def _array_holds_blocks(self) -> Self:
        block, k_vec, c_vec = self.architecture.block, self.architecture.k_vec, self.architecture.c_vec
        maps, weights = _block_sizes(self)
        smallest, largest = min(maps | weights), max(maps | weights)
        rules = [
            ("block", _exceeds(block, smallest), f"at most {smallest}, the smallest block size in use"),
            ("k_vec", _exceeds(max(maps), k_vec), f"at least {max(maps)}, the largest block size of an activation"),
            ("c_vec", _exceeds(largest, c_vec), f"at least {largest}, the largest block size in use"),
            ("c_vec", _exceeds(k_vec, c_vec), f"at least {k_vec}, like k_vec"),
        ]
        for key, broken, allowed in rules:
            if broken:
                context = {"path": ("architecture", key), "fix": f"give {allowed}, or auto"}
                raise PydanticCustomError("array_size", "does not fit the formats", context)
        return self

    @property
    def array_size(self) -> ArraySize:
        """The array's lanes and processing elements; on `auto`, enough for every block in use."""
        of_maps, of_weights = _block_sizes(self)
        chosen = self.architecture
        k_vec = chosen.k_vec if isinstance(chosen.k_vec, int) else max(MIN_K_VEC, *of_maps)
        c_vec = chosen.c_vec if isinstance(chosen.c_vec, int) else max(MIN_C_VEC, k_vec, *of_weights)
        return ArraySize(c_vec, k_vec)

    @property
    def input_format(self) -> ActivationFormat:
        """The format of the network's inputs."""
        return _changed(self.formats.activation, self.formats.input)

    def layer_formats(
        self, name: str, operator: str, positions: Iterable[Position] = (), *, is_output: bool = False
    ) -> LayerFormats:
        """The formats of a layer of the program; `is_output` where the map it writes is an output of the network."""
        formats = self.formats
        activation = _changed(formats.activation, formats.output) if is_output else formats.activation
        weight, depthwise_weight = formats.weight, formats.depthwise_weight
        for override in self.overrides:
            if override.matches(name, operator, positions):
                activation = _changed(activation, override.activation)
                weight = _changed(weight, override.weight)
                depthwise_weight = _changed(depthwise_weight, override.weight)
        return LayerFormats(activation, weight, depthwise_weight)

    def to_yaml(self) -> str:
        """What was set, presets included, as a config that reads back equal."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(source: str | Path) -> Config:
    """Reads a preset (`int4` or `int4.yaml`) or a file (any path). Raises ConfigError listing every fault."""
    located = read_config(source)
    try:
        return Config.model_validate(located.plain())
    except ValidationError as error:
        raise describe(error, located, Config) from None


_AnyFormat = TypeVar("_AnyFormat", bound=Format)


def _changed(format: _AnyFormat, change: Format) -> _AnyFormat:
    """`format` with what `change` was given explicitly, as far as `format` has it."""
    given = change.model_fields_set & type(format).model_fields.keys()
    return format.model_copy(update={key: getattr(change, key) for key in given})


def _exceeds(low: int | str, high: int | str) -> bool:
    """Whether both are decided and `low` is above `high`."""
    return isinstance(low, int) and isinstance(high, int) and low > high


def _block_sizes(config: Config) -> tuple[set[int], set[int]]:
    """Every block size that the config gives to an activation, and to a weight."""
    formats, overrides = config.formats, config.overrides
    maps = [formats.input, formats.output, *(override.activation for override in overrides)]
    weights = [override.weight for override in overrides]
    return (
        {formats.activation.block_size} | {change.block_size for change in maps if _sets_block(change)},
        {formats.weight.block_size} | {change.block_size for change in weights if _sets_block(change)},
    )


def _sets_block(change: BlockFormat) -> bool:
    return "block_size" in change.model_fields_set
