"""Trains a network: epochs of steps, their figures, and where a training stands after each."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DistributedSampler

from bfpc.config_sections import Training
from bfpc.errors import TrainingError
from bfpc.training.batches import Batch, Examples, draw_augmentation, load_batches
from bfpc.training.checkpoints import Checkpoint, State, load_checkpoint, save_checkpoint
from bfpc.training.distribution import Processes
from bfpc.training.loss import Judged, Objective, decibels
from bfpc.training.network import TrainableNetwork
from bfpc.training.precision import tensor_float32

WARM_UP = 0.05  # of all steps

FigureName = Literal["top-1", "SQNR"]


@dataclass(frozen=True)
class Figure:
    """How good the network is. `value` is a fraction of right classes (`top-1`), or decibels (`SQNR`).

    The noise is the difference to the float network's outputs.
    """

    name: FigureName
    value: float

    def __str__(self) -> str:
        return f"{self.name} {100 * self.value:.2f} %" if self.name == "top-1" else f"{self.name} {self.value:.2f} dB"


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave, or what there is of it so far. validation: after it, on other images."""

    number: int
    loss: float
    training: Figure
    validation: Figure | None = None


@dataclass(frozen=True)
class Moment:
    """After `step` of `steps` steps in all. epoch: the one under way, or the one that ended with this step (`done`)."""

    step: int
    steps: int
    epochs: int
    epoch: Epoch
    done: bool


@dataclass(frozen=True)
class Course:
    """What a training goes through. settings: a digest of all that its result follows from, for its checkpoints."""

    training: Training
    epochs: int
    examples: Examples
    validation: Examples | None
    objective: Objective
    checkpoints: Path | None
    settings: str


def train(
    network: TrainableNetwork, course: Course, processes: Processes, watch: Callable[[Moment], None]
) -> tuple[Epoch, ...]:
    """Trains `network` in place, and leaves it with its best weights; from the course's checkpoint on, if there is one.

    The best are those with the best validation figure, without validation the last. Raises TrainingError where the
    loss stops being a number.
    """
    torch.manual_seed(course.training.seed)
    run = _Run(network, course, processes)
    run.restore()
    with tensor_float32(course.training.mixed_precision):
        for number in range(len(run.figures) + 1, course.epochs + 1):
            for moment in run.epoch(number):
                watch(moment)
    network.load_state_dict(run.best)
    return tuple(run.figures)


class _Run:
    """A training under way: the network and what changes with it."""

    def __init__(self, network: TrainableNetwork, course: Course, processes: Processes) -> None:
        self.network, self.course, self.processes = network, course, processes
        self.shared = processes.share(network)
        self.optimizer = Adam(network.parameters(), course.training.learning_rate)
        self.sampler: DistributedSampler[int] = DistributedSampler(
            range(len(course.examples)),  # type: ignore[arg-type]
            processes.count,
            processes.rank,
            seed=course.training.seed,
        )
        self.steps = math.ceil(len(self.sampler) / course.training.batch)
        self.schedule = LambdaLR(self.optimizer, lambda step: rate(step, course.epochs * self.steps))
        self.best: State = {}
        self.figures: list[Epoch] = []

    def epoch(self, number: int) -> Iterator[Moment]:
        """One epoch, step by step; its checkpoint is written before the last one is handed over."""
        means = _Means(2, self.processes)  # of the loss and of the figure
        for step, batch in enumerate(self._batches(number), 1):
            judged = self._step(batch, f"epoch {number}, step {step} of {self.steps}")
            means.add(len(batch), judged.loss.detach(), judged.figure)
            if step < self.steps:
                yield self._moment(step, self._epoch(number, means))
        epoch = replace(self._epoch(number, means.gathered()), validation=self._validate())
        self.figures.append(epoch)
        if best_epoch(self.figures) is epoch:
            self.best = copy.deepcopy(self.network.state_dict())
        self._save()
        yield self._moment(self.steps, epoch)

    def restore(self) -> None:
        """Goes on from the checkpoint, where there is one."""
        if self.course.checkpoints is None:
            return
        found = load_checkpoint(self.course.checkpoints, self.course.settings, self.processes.device)
        if found is not None:
            self.network.load_state_dict(found.network)
            self.optimizer.load_state_dict(dict(found.optimizer))
            self.schedule.load_state_dict(dict(found.schedule))
            self.best = found.best
            self.figures = [_epoch(figures) for figures in found.figures]

    def _batches(self, number: int) -> Iterator[Batch]:
        course, training = self.course, self.course.training
        self.sampler.set_epoch(number)
        augmentation = draw_augmentation(training, len(course.examples), number)
        return load_batches(course.examples, self.sampler, training.batch, augmentation, self.processes.device)

    def _step(self, batch: Batch, where: str) -> Judged:
        judged = self.course.objective.judge(self.shared(batch.inputs), batch)
        loss = judged.loss.item()
        if not math.isfinite(loss):
            kept = "" if self.course.checkpoints is None else "; the last checkpoint is kept"
            fix = f"give a lower training.learning_rate{kept}"
            raise TrainingError(f"the loss became {loss}", where=where, fix=fix)
        self.optimizer.zero_grad()
        judged.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return judged

    @torch.no_grad()
    def _validate(self) -> Figure | None:
        """The figure on all validation images, each process seeing its part of them."""
        examples, processes = self.course.validation, self.processes
        if examples is None:
            return None
        means = _Means(1, processes)
        order = range(processes.rank, len(examples), processes.count)
        for batch in load_batches(examples, order, self.course.training.batch, None, processes.device):
            means.add(len(batch), self.course.objective.figure(self.network(batch.inputs), batch))
        return _figure(examples, *means.gathered().values())

    def _save(self) -> None:
        if self.course.checkpoints is None or not self.processes.leads:
            return
        state = Checkpoint(
            self.course.settings,
            self.network.state_dict(),
            self.optimizer.state_dict(),
            self.schedule.state_dict(),
            self.best,
            [asdict(epoch) for epoch in self.figures],
        )
        save_checkpoint(self.course.checkpoints, state)

    def _moment(self, step: int, epoch: Epoch) -> Moment:
        done = (epoch.number - 1) * self.steps + step
        return Moment(done, self.course.epochs * self.steps, self.course.epochs, epoch, step == self.steps)

    def _epoch(self, number: int, means: _Means) -> Epoch:
        loss, figure = means.values()
        return Epoch(number, loss, _figure(self.course.examples, figure))


class _Means:
    """Means over images, of numbers that are means over a batch."""

    def __init__(self, count: int, processes: Processes) -> None:
        self.processes = processes
        self.images, self.sums = 0, torch.zeros(count, dtype=torch.float64, device=processes.device)

    def add(self, images: int, *means: Tensor) -> None:
        self.images += images
        self.sums += images * torch.stack(means)

    def gathered(self) -> _Means:
        """Of what all processes saw."""
        total = self.processes.sum(torch.cat([self.sums, self.sums.new_tensor([self.images])]))
        gathered = _Means(len(self.sums), self.processes)
        gathered.images, gathered.sums = int(total[-1]), total[:-1]
        return gathered

    def values(self) -> list[float]:
        means: list[float] = (self.sums / self.images).tolist()
        return means


def _figure(examples: Examples, mean: float) -> Figure:
    """What the mean of an objective's figure over `examples` says."""
    return Figure("SQNR", decibels(mean)) if examples.classes is None else Figure("top-1", mean)


def rate(step: int, steps: int) -> float:
    """The learning rate at a step as a fraction of the highest: rising linearly, then falling along a cosine."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """The first with the highest validation figure; without validation the last."""
    if epochs[-1].validation is None:
        return epochs[-1]
    return max(epochs, key=lambda epoch: -math.inf if epoch.validation is None else epoch.validation.value)


def _epoch(plain: Mapping[str, Any]) -> Epoch:
    """Of what `asdict` makes of an epoch."""
    validation = None if plain["validation"] is None else Figure(**plain["validation"])
    return Epoch(plain["number"], plain["loss"], Figure(**plain["training"]), validation)
