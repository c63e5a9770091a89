"""The config: what a user decides, as validated, frozen models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypeVar

import yaml
from pydantic import Field, Strict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bfpc.config_architecture import ArchitectureConfig
from bfpc.config_faults import describe
from bfpc.config_file import read_config
from bfpc.config_measure import Measuring
from bfpc.config_search import Budget, Search
from bfpc.config_sections import (
    ActivationFormat,
    BlockFormat,
    Calibration,
    Format,
    Formats,
    Override,
    Passes,
    Position,
    Preprocessing,
    Section,
    Training,
    Verify,
)

MIN_K_VEC, MIN_C_VEC = 32, 64  # of an array on `auto`


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


class Config(Section):
    """Everything a user decides.

    `precision: auto` lets the compiler choose the formats under `budget`, from what `search` lists, and beginning with
    those given. `arithmetic: published` is the paper's own, which only the emulator knows.
    """

    precision: Literal["given", "auto"] = Field(
        "given", title="whether the formats are given here or chosen by bfpc search", description="given or auto"
    )
    arithmetic: Literal["exact", "published"] = Field(
        "exact", title="the accelerator's arithmetic, or the paper's own", description="exact or published"
    )
    formats: Formats = Formats()
    overrides: Annotated[tuple[Override, ...], Strict(False)] = Field(
        (), title="formats of single layers", description="a list of overrides"
    )
    passes: Passes = Passes()
    calibration: Calibration = Calibration()
    preprocessing: Preprocessing = Preprocessing()
    verify: Verify = Verify()
    measure: Measuring = Measuring()
    budget: Budget | None = None
    search: Search = Search()
    training: Training = Training()
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

    def without_passes(self) -> Config:
        """The same, but nothing makes up for what quantization loses."""
        return self.model_copy(update={"passes": Passes.model_validate(dict.fromkeys(Passes.model_fields, False))})

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
