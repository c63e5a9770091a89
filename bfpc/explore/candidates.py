"""The accelerators that an exploration tries: arrays of every shape, each with buffers of several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import ValidationError

from bfpc.backend.architecture import Architecture, Multipliers, with_multipliers
from bfpc.backend.devices import Device
from bfpc.config import ArraySize, Config
from bfpc.config_architecture import LANES

FEATURE_DEPTHS = (1024, 2048, 4096, 8192)
ACCUMULATOR_POSITIONS = (256, 1024, 4096)
MEMORIES = ((0, 0), (1024, 128), (4096, 512))  # kilobytes on chip of maps, of weights


@dataclass(frozen=True)
class Buffers:
    """Keys of the config's `architecture:`."""

    feature_depth: int
    accumulator_positions: int
    on_chip_kilobytes: int
    weight_kilobytes: int


def list_arrays(config: Config) -> list[ArraySize]:
    """The arrays that hold the blocks of the config's formats; what it sets itself stays."""
    return [
        ArraySize(c_vec, k_vec)
        for c_vec in _tried(config, "c_vec", LANES)
        for k_vec in _tried(config, "k_vec", LANES)
        if _with_architecture(config, c_vec=c_vec, k_vec=k_vec) is not None
    ]


def list_buffers(config: Config) -> list[Buffers]:
    return [
        Buffers(depth, positions, *memories)
        for depth in _tried(config, "feature_depth", FEATURE_DEPTHS)
        for positions in _tried(config, "accumulator_positions", ACCUMULATOR_POSITIONS)
        for memories in _memories(config)
    ]


def _memories(config: Config) -> list[tuple[int, int]]:
    """Kilobytes on chip of maps and of weights."""
    found = (
        (*_tried(config, "on_chip_kilobytes", (maps,)), *_tried(config, "weight_kilobytes", (weights,)))
        for maps, weights in MEMORIES
    )
    return list(dict.fromkeys(found))


def candidate_config(config: Config, device: Device, array: ArraySize, buffers: Buffers) -> Config:
    """The config of a candidate on a device, whose clock and memory it takes unless the config sets them."""
    board = {"clock_mhz": device.clock_mhz, "dram_gigabytes_per_second": device.gigabytes_per_second}
    given = {key: value for key, value in board.items() if key not in config.architecture.model_fields_set}
    found = _with_architecture(config, **array._asdict(), **vars(buffers), **given)
    assert found is not None, f"{array} does not hold the blocks of the config"
    return found


def list_multipliers(architecture: Architecture, config: Config, device: Device) -> Iterator[Architecture]:
    """The same with products in logic and in DSPs of a device."""
    for multipliers in _tried(config, "multipliers", get_args(Multipliers)):
        yield with_multipliers(architecture, multipliers, device.family.multiplier)


def join(architectures: list[Architecture]) -> Architecture:
    """One that runs what each of several of the same array and buffers runs."""
    widths = (
        "activation_bits",
        "weight_bits",
        "feature_bits",
        "dense_weight_bits",
        "depthwise_weight_bits",
        "accumulator_bits",
        "max_mantissa_bits",
        "depthwise_window",
    )
    widest = {name: max(getattr(each, name) for each in architectures) for name in widths}
    return replace(architectures[0], block=min(each.block for each in architectures), **widest)


def _tried(config: Config, key: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    value = getattr(config.architecture, key)
    return values if value == "auto" or key not in config.architecture.model_fields_set else (value,)


def _with_architecture(config: Config, **values: Any) -> Config | None:
    """None where the formats' blocks are larger than the array."""
    document = config.model_dump(mode="json")
    document["architecture"] = {**document.get("architecture", {}), **values}
    try:
        return Config.model_validate(document)
    except ValidationError:
        return None
