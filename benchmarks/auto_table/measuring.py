"""Measures one cell: a uniform format beside a search at its weight bits and at its SQNR, on pictures neither saw."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from benchmarks.auto_table.results import Cell, Point, Result
from benchmarks.builds import TRAINED, cifar10_pictures, photos, scores_model, scratch
from benchmarks.records import digest
from bfpc import __version__
from bfpc.config import Config, load_config
from bfpc.config_search import Budget
from bfpc.jobs import Engine
from bfpc.pipeline import prepare_network, quantize_network
from bfpc.search.check import make_check
from bfpc.search.costs import network_cost
from bfpc.search.search import Chosen, Data, search
from bfpc.search.searcher import GIVEN

# The first pictures calibrate, as many as here and more choose, others are held out.
CALIBRATION = 32
PHOTOS_CHECKED, CIFAR10_CHECKED, CIFAR10_HELD_OUT = 32, 512, 1000
MOST_PHOTOS = {"oid_ssd_mobilenetv2": 16, "waifu2x_cunet": 4}  # maps of many positions: few pictures tell enough
MOST_HELD_OUT = {"oid_ssd_mobilenetv2": 32, "waifu2x_cunet": 8}
FEATURES = {"opennsfw": "Reshape:0"}  # what its two scores are made of, an output, too: two numbers tell little
CHECKS = 12
SEARCH = {
    "weight_bits": list(range(2, 13)),
    "weight_block_sizes": [8, 16, 32, 64],
    "weight_exponent_ranges": [3, 7],
    "checks": CHECKS,
}


def measure_cell(cell: Cell, engine: Engine) -> Result:
    """In both directions: as many weight bits for more SQNR, then as much SQNR for fewer weight bits.

    What the floor of the second is on the pictures that chose is a little more or less on others.
    """
    given = _given(cell)
    uniform, uniform_noises = _measured(cell, given, engine)
    within = _searched(cell, given, {"at_most": uniform.weight_bits}, engine)
    more_sqnr, noises = _measured(cell, within.config, engine)
    floor = next(point.accuracy for point in within.front.uniform if point.name == GIVEN)
    fewer_bits, _ = _measured(cell, _searched(cell, given, {"at_least": floor}, engine).config, engine)
    digests = config_digest(cell), digest(measured_model(cell.network).read_bytes())
    return Result(*digests, uniform, more_sqnr, gain_error_db(noises, uniform_noises), fewer_bits)


def config_digest(cell: Cell) -> str:
    """Another one as soon as the cell has to be measured anew, the network aside: of config, pictures, outputs."""
    given = _given(cell)
    document = given.model_dump(mode="json")
    document["passes"] = [name for name, on in given.passes if on]  # one more that is off changes nothing
    measured = [each.get(cell.network) for each in (MOST_PHOTOS, MOST_HELD_OUT, FEATURES)]
    return digest(json.dumps([document, SEARCH, measured, __version__], sort_keys=True).encode())


def gain_error_db(noises: np.ndarray, others: np.ndarray) -> float:
    """Of the difference of two SQNRs on the same pictures, what the choice of the pictures makes: standard error."""
    differences = noises / noises.sum() - others / others.sum()
    return float(10 / np.log(10) * np.std(differences, ddof=1) * len(differences) ** 0.5)


def _given(cell: Cell) -> Config:
    """The uniform formats."""
    calibration = {"images": CALIBRATION}
    preprocessing = TRAINED[cell.network].preprocessing.model_dump(mode="json")
    sections = {"preprocessing": preprocessing, "calibration": calibration}
    return Config.model_validate(load_config(cell.preset).model_dump(mode="json") | sections)


def _searched(cell: Cell, given: Config, budget: dict[str, float | None], engine: Engine) -> Chosen:
    """The uniform formats are what the search begins with. Maps stay as they are: they get no other choice."""
    maps = {
        "activation_bits": [given.formats.activation.mantissa_bits],
        "activation_block_sizes": [given.formats.activation.block_size],
    }
    sections = {"precision": "auto", "budget": budget, "search": SEARCH | maps}
    config = Config.model_validate(given.model_dump(mode="json") | sections)
    model, chosen_on = measured_model(cell.network), _pictures(cell.network)[0]
    state = scratch() / f"{cell.network}.sensitivity.jsonl"  # searches share measurements
    return search(model, config, Data(chosen_on, chosen_on), engine, state_file=state, resume=state.exists())


def _pictures(name: str) -> tuple[Path, Path]:
    """Those that calibrate and choose, and those held out."""
    if TRAINED[name].pictures == "cifar10":
        preprocessing = TRAINED[name].preprocessing
        return (
            cifar10_pictures("train", CIFAR10_CHECKED, preprocessing),
            cifar10_pictures("test", CIFAR10_HELD_OUT, preprocessing),
        )
    return photos(MOST_PHOTOS.get(name, PHOTOS_CHECKED))


def pictures_of(network: str) -> tuple[str, str, str]:
    """How many calibrate, choose, and are held out, in words."""
    if TRAINED[network].pictures == "cifar10":
        return (
            f"{CALIBRATION} of these",
            f"{CIFAR10_CHECKED} of the training set",
            f"{CIFAR10_HELD_OUT} of the test set",
        )
    checked = MOST_PHOTOS.get(network, PHOTOS_CHECKED)
    held_out = f"{MOST_HELD_OUT[network]} others" if network in MOST_HELD_OUT else "the others of 100"
    return f"the {min(CALIBRATION, checked)} photographs", f"{checked} photographs", held_out


@cache
def measured_model(network: str) -> Path:
    """The ONNX file that is searched: `scores_model`, with its features as an output, too, where it has `FEATURES`."""
    if network not in FEATURES:
        return scores_model(network)
    model = onnx.load(scores_model(network))
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES[network], onnx.TensorProto.FLOAT, None))
    path = scratch() / f"{network}-features.onnx"
    onnx.save(model, path)
    return path


def _measured(cell: Cell, config: Config, engine: Engine) -> tuple[Point, np.ndarray]:
    """On held-out pictures, and the noise that each adds, as in `Accuracy`: [pictures]."""
    model, (chosen_on, held_out) = measured_model(cell.network), _pictures(cell.network)
    prepared = prepare_network(model, config, chosen_on)
    graph = quantize_network(prepared, config)
    budget = Budget(at_least=0, cost="weight_bits")
    most = MOST_HELD_OUT.get(cell.network)
    found = make_check(model, prepared, config, budget, held_out, None, most)(engine, prepared, config, graph)
    return Point(found.value, int(network_cost(budget, config, graph))), np.array(found.noises)
