"""Measures one cell: quantizes the network, after search or retraining where the cell says so, and evaluates it.

The reference is the original network in float32, also of a network that was retrained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from statistics import fmean

from benchmarks.accuracy_table.cells import (
    CALIBRATION_CIFAR10,
    FLOAT,
    NETWORKS,
    ROWS,
    Cell,
    cell_config,
    config_digest,
)
from benchmarks.accuracy_table.results import Result
from benchmarks.builds import (
    TRAINED,
    cifar10_labels,
    cifar10_pictures,
    model_digest,
    photo_crops,
    photos,
    scores_model,
    scratch,
)
from benchmarks.measuring import measuring
from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.evaluation.evaluate import DataSet, make_task
from bfpc.evaluation.task import Found, Task, run_task
from bfpc.evaluation.weights import float_weight_size, weight_size
from bfpc.jobs import Engine
from bfpc.pipeline import prepare_network, quantize_network
from bfpc.progress import Progress
from bfpc.search.costs import network_cost
from bfpc.search.search import Data, search
from bfpc.training.retrain import Retraining, Source, retrain

TEST_PICTURES, TRAINING_PICTURES = 5000, 20000  # of CIFAR-10


@dataclass(frozen=True)
class Images:
    """What calibrates, and what evaluates."""

    calibration: Path
    evaluation: DataSet


def measure_cell(cell: Cell, engine: Engine, progress: Progress) -> Result:
    parts = [_measure(cell, images, engine, progress) for images in _images(cell)]
    tasks, found, bits_per_weight = zip(*parts, strict=True)
    digests, pictures = (config_digest(cell), model_digest(cell.network)), sum(len(task.inputs) for task in tasks)
    images = pictures // NETWORKS[cell.network].crops
    return _result(digests, tasks[0], [each for batches in found for each in batches], images, fmean(bits_per_weight))


def _measure(cell: Cell, images: Images, engine: Engine, progress: Progress) -> tuple[Task, list[Found], float]:
    """What was evaluated, what was found, batch by batch, and the bits per weight."""
    within = ROWS[cell.row].within
    config = cell_config(cell) if within is None else _chosen(cell, within, images, engine, progress)
    config = config.model_copy(update={"measure": measuring(cell.network)})
    task = _task(scores_model(cell.network), config, images, progress)
    if cell.column == "retraining":
        tuned = _retrained(cell, config, images, progress)
        if cell.row == FLOAT:
            task = replace(task, model=tuned.read_bytes())
        else:
            task = replace(task, candidates=_task(tuned, config, images, progress).candidates)
    (candidate,) = task.candidates
    size = weight_size(candidate)
    if cell.row == FLOAT:
        task, size = replace(task, candidates=()), float_weight_size(candidate)
    return task, [batch[-1] for batch in run_task(engine, task, progress)], size.bits_per_weight


def _task(path: Path, config: Config, images: Images, progress: Progress) -> Task:
    task, _ = make_task(path, {"": config}, images.evaluation, images.calibration, progress)
    return task


def _result(digests: tuple[str, str], task: Task, found: list[Found], images: int, bits_per_weight: float) -> Result:
    """found: batch by batch, of so many images, which have scores, and of squares of them, which have none."""
    sums = [reduce(add, batches) for batches in zip(*(batch.sums for batch in found), strict=True)]
    compared = [
        each.comparison(info.name) for each, info in zip(sums, task.signature.outputs, strict=False) if each.is_signal
    ]
    scores = [
        score
        for index, measure in enumerate(task.measures)
        if (items := [item for batch in found for item in batch.items[index]][:images])
        for score in measure.summarize(items)
    ]
    return Result(
        *digests,
        images,
        bits_per_weight,
        {each.name: each.sqnr_db for each in compared if each.sqnr_db is not None},
        {score.name: score for score in scores},
    )


def _chosen(cell: Cell, within: str, images: Images, engine: Engine, progress: Progress) -> Config:
    """The formats that a search finds with no more weight bits than another row has."""
    path, uniform = scores_model(cell.network), cell_config(replace(cell, row=within)).without_passes()
    graph = quantize_network(prepare_network(path, uniform, images.calibration), uniform)
    budget = Budget(cost="weight_bits", at_most=1.0)
    budget = budget.model_copy(update={"at_most": network_cost(budget, uniform, graph)})
    config = cell_config(cell).model_copy(update={"budget": budget})
    return search(path, config, Data(images.calibration, _checked(cell)), engine, progress=progress).config


def _checked(cell: Cell) -> Path | None:
    """What choices are checked on; None: what calibrates."""
    network = NETWORKS[cell.network]
    if network.crops == 1:
        return None
    crops, _ = photo_crops(network.calibration_photos, (network.crops, network.crops))
    return crops


def _retrained(cell: Cell, config: Config, images: Images, progress: Progress) -> Path:
    path = scratch() / f"{cell.network}-{ROWS[cell.row].preset}.onnx"
    task = Retraining(_training_data(cell, images), NETWORKS[cell.network].recipe.epochs, None, images.calibration)
    retrain(scores_model(cell.network), config, path, task, progress)
    return path


def _images(cell: Cell) -> list[Images]:
    """What to measure with, one after the other; what is found counts as one."""
    network, preprocessing = NETWORKS[cell.network], TRAINED[cell.network].preprocessing
    if TRAINED[cell.network].pictures == "photos":
        first, others = photos(network.calibration_photos)
        _, compared = photo_crops(network.calibration_photos, (network.crops, network.crops))
        swapped = [Images(others, DataSet(first))] if network.halves else []
        return [Images(first, DataSet(compared)), *swapped]
    test = DataSet(cifar10_pictures("test", TEST_PICTURES, preprocessing), cifar10_labels("test", TEST_PICTURES))
    return [Images(cifar10_pictures("train", CALIBRATION_CIFAR10, preprocessing), test)]


def _training_data(cell: Cell, images: Images) -> Source:
    if not NETWORKS[cell.network].recipe.labelled:
        return Source(images.calibration)
    pictures = cifar10_pictures("train", TRAINING_PICTURES, TRAINED[cell.network].preprocessing)
    return Source(pictures, cifar10_labels("train", TRAINING_PICTURES))
