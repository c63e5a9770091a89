"""`bfpc retrain`: from files to a file. Reads network, data and labels, trains, and writes the network anew."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.data import Array, InputData, open_inputs
from bfpc.errors import DataError
from bfpc.file_identity import file_identity
from bfpc.labels import load_labels
from bfpc.output_file import check_writable
from bfpc.pipeline import Prepared, prepare_network
from bfpc.progress import Progress, silent, step
from bfpc.runtime.host_tensors import add_host_tensors
from bfpc.runtime.signature import input_specs, read_signature
from bfpc.training.batches import Examples
from bfpc.training.checkpoints import prepare_folder
from bfpc.training.distribution import Processes, join_processes
from bfpc.training.loop import Course, Epoch, Moment, best_epoch, train
from bfpc.training.loss import Objective, find_scores, output_powers
from bfpc.training.network import TrainableNetwork, make_trainable

Watch = Callable[[Moment], None]


@dataclass(frozen=True)
class Source:
    """Images, and their labels where there are any."""

    data: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Retraining:
    """What to train on and how long. calibration: `train`'s images if None. checkpoints: a folder, or None for none."""

    train: Source
    epochs: int
    validation: Source | None = None
    calibration: Path | None = None
    checkpoints: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class Retrained:
    """The file, the figures of every epoch, which of them (`best`) has the file's weights, and warnings."""

    file: Path
    epochs: tuple[Epoch, ...]
    best: int
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """The object that `bfpc retrain --json` prints; its keys are the fields."""
        return json.dumps({**asdict(self), "file": str(self.file)}, indent=2)


def retrain(
    model: Path, config: Config, output: Path, task: Retraining, progress: Progress = silent, watch: Watch | None = None
) -> Retrained | None:
    """Trains an ONNX network for the formats of `config`, and writes it with the better weights to `output`.

    watch: gets every step. None in processes that don't lead. Raises a BfpcError where the model, the config, the data
    or a checkpoint is at fault, or the loss stops being a number; nothing is written to `output` then.
    """
    check_writable(output, [model])
    with join_processes() as processes:
        if task.checkpoints is not None and processes.leads:
            prepare_folder(task.checkpoints, resume=task.resume)
        progress = progress if processes.leads else silent
        prepared = prepare_network(model, config, task.calibration or task.train.data, progress=progress)
        network = step(progress, "building the network", lambda: make_trainable(prepared, config).to(processes.device))
        course, warnings = step(progress, "opening the data", lambda: _plan(prepared, config, task, network, processes))
        epochs = train(network, course, processes, watch if watch and processes.leads else _unwatched)
        if not processes.leads:
            return None
        network.write(output)
    told = (*prepared.network.warnings, *prepared.data.warnings, *warnings)
    return Retrained(output, epochs, best_epoch(epochs).number, told)


def _unwatched(moment: Moment) -> None:
    del moment


def _plan(
    prepared: Prepared, config: Config, task: Retraining, network: TrainableNetwork, processes: Processes
) -> tuple[Course, tuple[str, ...]]:
    """The course of the training, and what the user should know about its data."""
    teacher = copy.deepcopy(network).requires_grad_(False)
    teacher.quantizing = False
    with torch.no_grad():
        inputs = {name: torch.from_numpy(array) for name, array in prepared.data.arrays.items()}
        outputs = teacher({name: tensor.to(processes.device) for name, tensor in inputs.items()})
    scores = find_scores(outputs, {value.name for value in prepared.network.model.graph.output}, config.measure.output)
    classes = None if scores is None else outputs[scores][0].numel()
    examples = _open(task.train, prepared, config, classes)
    validation = None if task.validation is None else _open(task.validation, prepared, config, classes)
    objective = Objective(teacher, output_powers(outputs), scores, config.training)
    settings = _digest(prepared, config, task, processes)
    course = Course(config.training, task.epochs, examples, validation, objective, task.checkpoints, settings)
    return course, examples.inputs.warnings


def _open(source: Source, prepared: Prepared, config: Config, classes: int | None) -> Examples:
    """Images and their classes. classes: how many the network has scores for. Raises DataError where they don't fit."""
    network, training = prepared.network, config.training
    signature = read_signature(network.model, network.graph)
    specs = input_specs(signature, network.graph)
    pictures = tuple(spec for spec in specs if spec.map_shape is not None)
    if (training.flip or training.crop_padding) and not pictures:
        what, fix = "the network takes no pictures that could be mirrored or shifted", "leave flip and crop_padding out"
        raise DataError(what, where="training", fix=fix)

    def complete(arrays: dict[str, Array]) -> Mapping[str, Array]:
        data = InputData(arrays, shared=prepared.data.shared)
        return add_host_tensors(data, network.model, signature, network.graph).arrays

    inputs = open_inputs(source.data, specs, config.preprocessing, None)
    labels = None if source.labels is None else _classes(source.labels, inputs.names, classes)
    return Examples(inputs, labels, pictures, complete)


def _classes(path: Path, names: Sequence[str], classes: int | None) -> NDArray[np.int64]:
    """The class of every image. Raises DataError where the network does not have it."""
    otherwise = "or leave the labels out: the float network teaches then"
    if classes is None:
        raise DataError("the network has no output of class scores", where=str(path), fix=otherwise.removeprefix("or "))
    labels = load_labels(path, names)
    if labels.kind != "classes":
        fix = f"give a class index for each image, {otherwise}"
        raise DataError(f"the labels are {labels.kind}", where=str(path), fix=fix)
    indices = np.array(labels.take(range(len(names))), np.int64)
    if indices.max() >= classes:
        what = f"a label is class {indices.max()}, the network has {classes} classes, counted from 0"
        raise DataError(what, where=str(path), fix="give the class indices that the network was trained with")
    return indices


def _digest(prepared: Prepared, config: Config, task: Retraining, processes: Processes) -> str:
    """Of what the training's result follows from; of files without what they hold."""
    sources = [task.train, task.validation] if task.validation else [task.train]
    files = file_identity(task.calibration, *(path for source in sources for path in (source.data, source.labels)))
    digest = hashlib.sha256(prepared.network.model.SerializeToString(deterministic=True))
    digest.update(repr((config.to_yaml(), task.epochs, processes.count, files)).encode())
    return digest.hexdigest()
