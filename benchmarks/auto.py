"""`precision: auto` against each uniform format: at its weight bits, or at its SQNR, on pictures neither saw."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.builds import TRAINED, available, cifar10_pictures, photo_crops, scores_model, scratch
from benchmarks.figures import Figure
from bfpc.config import Config, load_config
from bfpc.config_search import Budget
from bfpc.jobs import Engine, open_engine
from bfpc.pipeline import prepare_network, quantize_network
from bfpc.search.check import make_check
from bfpc.search.costs import network_cost
from bfpc.search.search import Chosen, Data, search
from bfpc.search.searcher import GIVEN

TITLE = (
    "Formats chosen by the compiler, at the weight bits or at the SQNR of a uniform format, maps no wider: on held-out "
    "pictures"
)
PRESETS = ("int8", "int6", "int5", "int54", "int4")
# The first pictures calibrate, as many as here and more choose, others are held out.
CALIBRATION = 8
# Where pictures are small, or where some would exceed the range of the maps that few show, and drown the rest.
MORE_CALIBRATE = {"resnet20": 32, "opennsfw": 32, "selfie_segmentation": 32}
PHOTOS_CHECKED, CIFAR10_CHECKED, CIFAR10_HELD_OUT = 32, 512, 1000
MOST_PHOTOS = {"oid_ssd_mobilenetv2": 16, "waifu2x_cunet": 4}  # maps of many positions: few pictures tell enough
MOST_HELD_OUT = {"oid_ssd_mobilenetv2": 32, "waifu2x_cunet": 8}
CROPS = {"opennsfw": (4, 4)}  # an output of two numbers tells little: more pictures of a photograph, see `photo_crops`
SEARCH = {
    "weight_bits": list(range(2, 13)),
    "weight_block_sizes": [8, 16, 32, 64],
    "weight_exponent_ranges": [3, 7],
    "checks": 12,
}
BYTES = 2**20


@dataclass(frozen=True)
class Measured:
    """sqnr_db, noises: at the network's outputs, on held-out pictures, and what each adds, as in `Accuracy`; pictures
    of one photograph together, since they are alike.

    weight_bits, dram_bytes: of one image.
    """

    sqnr_db: float
    noises: tuple[float, ...]
    weight_bits: float
    dram_bytes: float


def measure() -> Iterator[Figure]:
    """Of the networks and presets named in AUTO_NETWORKS and AUTO_PRESETS, separated by spaces; else of all."""
    names = os.environ.get("AUTO_NETWORKS", " ".join(available())).split()
    presets = os.environ.get("AUTO_PRESETS", " ".join(PRESETS)).split()
    with open_engine() as engine:
        for name in names:
            uniform = {preset: _measured(name, _config(name, preset), engine) for preset in PRESETS}
            for preset in presets:
                yield from _compare(name, preset, uniform, engine)


def _compare(name: str, preset: str, uniform: dict[str, Measured], engine: Engine) -> Iterator[Figure]:
    """In both directions: as many weight bits for more SQNR, then as much SQNR for fewer weight bits.

    What keeps to a floor on the pictures that chose lies a little above or below it on others. It is therefore held
    against what the uniform formats take for the SQNR it has there, along the line between them.
    """
    given = _config(name, preset)
    within = _searched(name, given, {"at_most": uniform[preset].weight_bits}, engine)
    auto = _measured(name, within.config, engine)
    what = f"{name} {preset}, auto in no more bits"
    yield Figure(what, auto.sqnr_db, "dB SQNR", bar=uniform[preset].sqnr_db, more_is_better=True)
    yield Figure(what, _gain_error_db(auto, uniform[preset]), "dB standard error of the gain")
    yield from _sizes(what, auto, uniform[preset].weight_bits)
    floor = next(point.accuracy for point in within.front.uniform if point.name == GIVEN)
    auto = _measured(name, _searched(name, given, {"at_least": floor}, engine).config, engine)
    what = f"{name} {preset}, auto with no less SQNR"
    yield Figure(what, auto.sqnr_db, "dB SQNR")
    yield from _sizes(what, auto, _bits_at(auto.sqnr_db, uniform))


def _gain_error_db(one: Measured, other: Measured) -> float:
    """Of the difference of two SQNRs on the same pictures, what the choice of the pictures makes."""
    shares, others = (np.array(each.noises) / sum(each.noises) for each in (one, other))
    return float(10 / np.log(10) * np.std(shares - others, ddof=1) * len(shares) ** 0.5)


def _bits_at(sqnr_db: float, uniform: dict[str, Measured]) -> float:
    """The weight bits of uniform formats of this SQNR, between those measured."""
    front = sorted(uniform.values(), key=lambda each: each.sqnr_db)
    return float(np.interp(sqnr_db, [each.sqnr_db for each in front], [each.weight_bits for each in front]))


def _sizes(what: str, auto: Measured, weight_bits: float) -> Iterator[Figure]:
    yield Figure(what, auto.weight_bits / 8 / BYTES, "MiB of weights", bar=weight_bits / 8 / BYTES)
    yield Figure(what, auto.dram_bytes / BYTES, "MiB of traffic")


def _config(name: str, preset: str) -> Config:
    calibration = {"images": MORE_CALIBRATE.get(name, CALIBRATION)}
    sections = {"preprocessing": TRAINED[name].preprocessing.model_dump(mode="json"), "calibration": calibration}
    return Config.model_validate(load_config(preset).model_dump(mode="json") | sections)


def _searched(name: str, given: Config, budget: dict[str, float | None], engine: Engine) -> Chosen:
    """The uniform formats are what the search begins with. Maps stay as they are: they get no other choice."""
    maps = {
        "activation_bits": [given.formats.activation.mantissa_bits],
        "activation_block_sizes": [given.formats.activation.block_size],
    }
    sections = {"precision": "auto", "budget": budget, "search": SEARCH | maps}
    config = Config.model_validate(given.model_dump(mode="json") | sections)
    chosen_on = _pictures(name)[0]
    state = scratch() / f"{name}.sensitivity.jsonl"  # searches share measurements
    return search(
        scores_model(name), config, Data(chosen_on, chosen_on), engine, state_file=state, resume=state.exists()
    )


def _pictures(name: str) -> tuple[Path, Path]:
    """Those that calibrate and choose, and those held out."""
    if TRAINED[name].pictures == "cifar10":
        preprocessing = TRAINED[name].preprocessing
        return (
            cifar10_pictures("train", CIFAR10_CHECKED, preprocessing),
            cifar10_pictures("test", CIFAR10_HELD_OUT, preprocessing),
        )
    return photo_crops(MOST_PHOTOS.get(name, PHOTOS_CHECKED), CROPS.get(name, (1, 1)))


def _measured(name: str, config: Config, engine: Engine) -> Measured:
    chosen_on, held_out = _pictures(name)
    prepared = prepare_network(scores_model(name), config, chosen_on)
    graph = quantize_network(prepared, config)
    accuracy = make_check(
        scores_model(name), prepared, config, Budget(at_least=0), held_out, None, MOST_HELD_OUT.get(name)
    )
    bits, traffic = (
        network_cost(Budget(at_least=0, cost=cost), config, graph) for cost in ("weight_bits", "dram_bytes")
    )
    found = accuracy(engine, prepared, config, graph)
    _, crops = CROPS.get(name, (1, 1))
    noises = np.reshape(found.noises, (crops, -1)).sum(axis=0)
    return Measured(found.value, tuple(noises.tolist()), bits, traffic)
