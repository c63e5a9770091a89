"""The loss: worked examples, and what it must not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bfpc.config_sections import Training
from bfpc.training.batches import Batch
from bfpc.training.loss import Objective, decibels, find_scores


def objective(targets: dict[str, Tensor], **training: float) -> Objective:
    def teacher(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return targets

    return Objective(teacher, dict.fromkeys(targets, 2.0), next(iter(targets)), Training(**training))  # type: ignore[arg-type]


def batch(images: int, classes: list[int] | None = None) -> Batch:
    return Batch({"x": torch.zeros(images, 1)}, None if classes is None else torch.tensor(classes), images)


def test_the_noise_is_relative_to_each_outputs_power() -> None:
    targets = {"a": torch.zeros(2, 3, 4), "b": torch.zeros(2, 5, 6)}
    outputs = {"a": torch.ones(2, 3, 4), "b": torch.full((2, 5, 6), 2.0)}
    judged = objective(targets).judge(outputs, batch(2))
    assert judged.figure.item() == judged.loss.item() == (1 / 2 + 4 / 2) / 2
    assert decibels(judged.figure.item()) == pytest.approx(-10 * math.log10(1.25))


def test_class_scores_are_compared_as_probabilities_too() -> None:
    scores = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    given = torch.zeros(1, 2)
    judged = objective({"scores": scores}, temperature=1.0).judge({"scores": given}, batch(1))
    divergence = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    noise = math.log(3) ** 2 / 2 / 2
    assert judged.loss.item() == pytest.approx(noise + divergence)
    assert judged.figure.item() == pytest.approx(noise)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1, 1)])
def test_labels(shape: tuple[int, ...]) -> None:
    scores = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0]]).reshape(shape)
    judged = objective({"scores": scores}, distillation=0.0).judge({"scores": scores}, batch(2, [0, 1]))
    assert judged.loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert judged.figure.item() == 0.5
    # taught by itself, half of the loss is 0
    shared = objective({"scores": scores}, distillation=0.5).judge({"scores": scores}, batch(2, [0, 1]))
    assert shared.loss.item() == pytest.approx(judged.loss.item() / 2)
    assert shared.figure == judged.figure


def test_equal_outputs_have_no_noise() -> None:
    targets = {"scores": torch.randn(3, 10)}
    judged = objective(targets).judge(targets, batch(3))
    assert judged.loss.item() == pytest.approx(0, abs=1e-6)
    assert decibels(judged.figure.item()) == math.inf


def test_labels_are_about_the_networks_own_scores_or_those_before_a_softmax() -> None:
    outputs = {"squeezed": torch.zeros(1, 8, 1, 1), "map": torch.zeros(1, 8, 4, 4), "logits": torch.zeros(1, 10)}
    assert find_scores(outputs, {"probabilities"}, None) == "logits"
    assert find_scores(outputs, {"squeezed", "probabilities"}, None) == "squeezed"
    assert find_scores(outputs, {"squeezed", "probabilities"}, "logits") == "logits"
    assert find_scores({"map": outputs["map"]}, {"map"}, "map") is None
