"""What training makes small, and the figure that people read: from labels, or from the float network."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bfpc.config_sections import Training
from bfpc.training.batches import Batch
from bfpc.training.network import TrainableNetwork
from bfpc.training.precision import bfloat16

LOWEST_POWER = 1e-12  # of an output that is zero everywhere

Outputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Judged:
    """loss: to be made smaller; figure: with labels the fraction of right classes, else noise relative to signal.

    Both are means over the batch.
    """

    loss: Tensor
    figure: Tensor


@dataclass(frozen=True)
class Objective:
    """teacher: the float network. powers: the mean square of each of its outputs, fixed, so that batches compare.

    scores: the output that labels are about, None where no output holds class scores.
    """

    teacher: TrainableNetwork
    powers: Mapping[str, float]
    scores: str | None
    training: Training

    def judge(self, outputs: Outputs, batch: Batch) -> Judged:
        """The outputs of the network in training for `batch`."""
        if batch.classes is None:
            targets = self._targets(batch)
            noise = self._noise(outputs, targets)
            return Judged(noise + self._divergence(outputs, targets), noise.detach())
        assert self.scores is not None
        scores = outputs[self.scores].flatten(1)
        loss = functional.cross_entropy(scores, batch.classes)
        share = self.training.distillation
        if share:
            targets = self._targets(batch)
            taught = self._noise(outputs, targets) + self._divergence(outputs, targets)
            loss = (1 - share) * loss + share * taught
        return Judged(loss, self._right(outputs, batch.classes))

    def figure(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The figure alone."""
        if batch.classes is None:
            return self._noise(outputs, self._targets(batch))
        return self._right(outputs, batch.classes)

    def _right(self, outputs: Outputs, classes: Tensor) -> Tensor:
        assert self.scores is not None
        return (outputs[self.scores].detach().flatten(1).argmax(1) == classes).float().mean()

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Outputs:
        device = next(iter(batch.inputs.values())).device
        with bfloat16(device, self.training.mixed_precision):
            return {name: target.float() for name, target in self.teacher(batch.inputs).items()}

    def _noise(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Mean square error relative to the output's power, as a mean over the outputs."""
        noises = [(outputs[name] - target).square().mean() / self.powers[name] for name, target in targets.items()]
        return torch.stack(noises).mean()

    def _divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Kullback-Leibler divergence of the classes' probabilities; its gradients don't depend on the temperature."""
        total = torch.zeros((), device=next(iter(targets.values())).device)
        heat = self.training.temperature
        for name, target in targets.items():
            if holds_scores(target):
                wanted = functional.log_softmax(target.flatten(1) / heat, 1)
                given = functional.log_softmax(outputs[name].flatten(1) / heat, 1)
                total = total + heat**2 * functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
        return total


def holds_scores(output: Tensor) -> bool:
    """Whether an image has one axis with several elements: class scores, as a rule."""
    return sum(size > 1 for size in output.shape[1:]) == 1


def find_scores(outputs: Outputs, own: Container[str], chosen: str | None) -> str | None:
    """The output that labels are about, None where no output holds class scores.

    The `chosen` one, or the first that is the network's own, or the last, which the host makes a softmax of.
    """
    holding = [name for name, output in outputs.items() if holds_scores(output)]
    if chosen in holding:
        return chosen
    return next((name for name in holding if name in own), holding[-1] if holding else None)


def output_powers(outputs: Outputs) -> dict[str, float]:
    """The mean square of each output."""
    return {name: max(float(output.square().mean()), LOWEST_POWER) for name, output in outputs.items()}


def decibels(noise: float) -> float:
    """The signal to noise ratio that a relative noise power means."""
    return math.inf if noise == 0 else -10 * math.log10(noise)
