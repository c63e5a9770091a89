"""What the passes that make up for quantization are worth on trained networks, each alone and together.

Output SQNR on pictures that did not calibrate. `plain` has a preset's formats, without passes and overrides, `recovery`
is the preset as it is, with more bits for the input, for signs and for the first and last layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.builds import TRAINED, available, cifar10_pictures, photos, scores_model
from benchmarks.figures import Figure
from benchmarks.plain import plain
from bfpc.config import Config, load_config
from bfpc.config_search import Budget
from bfpc.config_sections import Passes
from bfpc.jobs import Engine, open_engine
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.search.check import make_check

PHOTOS, CIFAR10_PICTURES = (32, 16), (64, 256)  # how many calibrate, how many are compared
TITLE = (
    f"Recovery: calibrated on {PHOTOS[0]} pictures, compared on {PHOTOS[1]} others "
    f"(resnet20: {CIFAR10_PICTURES[0]} and {CIFAR10_PICTURES[1]})"
)
PRESETS = ("int54", "int8")
LEAST_GAIN = {"int54": 3.0}  # dB that recovery must gain over plain rounding

Sections = dict[str, Any]


def measure() -> Iterator[Figure]:
    with open_engine(processes=1) as engine:
        for name in available():
            for preset in PRESETS:
                yield from measure_network(name, preset, engine)


def measure_network(name: str, preset: str, engine: Engine) -> Iterator[Figure]:
    """The SQNR of every variant of a preset, as it comes."""
    calibrating = {"images": _counts(name)[0]}
    shared = {"calibration": calibrating, "preprocessing": TRAINED[name].preprocessing.model_dump()}
    configs = variants(changed(load_config(preset), shared))
    prepared = prepare_network(scores_model(name), configs["plain"], _pictures(name)[0])
    found: dict[str, float] = {}
    for what, config in configs.items():
        found[what] = _sqnr_db(name, prepared, config, engine)
        bar = found["plain"] + LEAST_GAIN[preset] if what == "recovery" and preset in LEAST_GAIN else None
        yield Figure(f"{name} {preset}, {what}", found[what], "dB SQNR", bar, more_is_better=True)


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


def _sqnr_db(name: str, prepared: Prepared, config: Config, engine: Engine) -> float:
    """Of the outputs of the network that `config` makes, on the pictures that are compared."""
    count, budget = _counts(name)[1], Budget(at_least=0)
    check = make_check(scores_model(name), prepared, config, budget, _pictures(name)[1], None, count)
    return check(engine, prepared, config, quantize_network(prepared, config)).value
