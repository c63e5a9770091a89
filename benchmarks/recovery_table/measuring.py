"""Measures what the passes that make up for quantization are worth: variants of a preset, each against float32.

`plain` has a preset's formats, without passes and overrides, `recovery` is the preset as it is, with more bits for the
input, for signs and for the first and last layer.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.builds import TRAINED, cifar10_pictures, model_digest, photos, scores_model
from benchmarks.plain import plain
from benchmarks.records import digest
from benchmarks.recovery_table.results import Cell, Result
from bfpc import __version__
from bfpc.config import Config, load_config
from bfpc.config_search import Budget
from bfpc.config_sections import Passes
from bfpc.jobs import Engine
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.search.check import make_check

PHOTOS, CIFAR10_PICTURES = (32, 16), (64, 256)  # how many calibrate, how many are compared

Sections = dict[str, Any]


def measure_cell(cell: Cell, engine: Engine) -> Result:
    """The SQNR of the outputs of the network that the cell's config makes, on the pictures that are compared."""
    config, count, budget = cell_config(cell), _counts(cell.network)[1], Budget(at_least=0)
    prepared = _prepared(cell.network, cell.preset)
    check = make_check(scores_model(cell.network), prepared, config, budget, _pictures(cell.network)[1], None, count)
    found = check(engine, prepared, config, quantize_network(prepared, config))
    return Result(config_digest(cell), model_digest(cell.network), found.value)


@lru_cache(maxsize=1)
def _prepared(network: str, preset: str) -> Prepared:
    """What the variants share."""
    config = cell_config(Cell(network, preset, "plain"))
    return prepare_network(scores_model(network), config, _pictures(network)[0])


def cell_config(cell: Cell) -> Config:
    calibrating = {"images": _counts(cell.network)[0]}
    shared = {"calibration": calibrating, "preprocessing": TRAINED[cell.network].preprocessing.model_dump()}
    return variants(changed(load_config(cell.preset), shared))[cell.variant]


def config_digest(cell: Cell) -> str:
    """Another one as soon as the cell has to be measured anew, the network aside: of config, pictures, version."""
    document = [cell_config(cell).model_dump(mode="json"), _counts(cell.network)[1], __version__]
    return digest(repr(document).encode())


def variants(preset: Config) -> dict[str, Config]:
    """What is compared, by name."""
    rounded = plain(preset)
    both = {"passes": {"compensate_rounding": True, "correct_bias": True}}
    return {
        "plain": rounded,
        "plain, signed maps": changed(rounded, _maps(unsigned=False)),
        "extra sign bit": changed(rounded, _maps(extra_sign_bit=True)),
        **{name: changed(rounded, {"passes": {name: True}}) for name in Passes.model_fields},
        "compensate_rounding and correct_bias": changed(rounded, both),
        "first and last layer wide": changed(preset.without_passes(), _maps(extra_sign_bit=False)),
        "recovery": preset,
        **{
            f"recovery {'without' if by_default else 'and'} {name}": changed(preset, {"passes": {name: not by_default}})
            for name, by_default in Passes()
        },
    }


def _maps(**format: bool) -> Sections:
    return {"formats": {"activation": format}}


def changed(config: Config, changes: Sections) -> Config:
    """The config with what these sections hold, key by key; their overrides stand in place of its own."""
    return Config.model_validate(_merged(config.model_dump(mode="json"), changes))


def _merged(given: Sections, changes: Sections) -> Sections:
    both = {key: _merged(given[key], changes[key]) for key in given.keys() & changes if isinstance(given[key], dict)}
    return {**given, **changes, **both}


def _counts(name: str) -> tuple[int, int]:
    return CIFAR10_PICTURES if TRAINED[name].pictures == "cifar10" else PHOTOS


def _pictures(name: str) -> tuple[Path, Path]:
    """Those that calibrate, and those that are compared."""
    calibrating, compared = _counts(name)
    if TRAINED[name].pictures != "cifar10":
        return photos(calibrating)
    preprocessing = TRAINED[name].preprocessing
    return cifar10_pictures("train", calibrating, preprocessing), cifar10_pictures("test", compared, preprocessing)
