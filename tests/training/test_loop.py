"""Training: the loss falls, the figures mean what they say, and an interrupted run ends like an uninterrupted one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bfpc.config_sections import Training
from bfpc.errors import TrainingError
from bfpc.training.checkpoints import prepare_folder
from bfpc.training.distribution import Processes
from bfpc.training.loop import Course, Epoch, Moment, rate, train
from bfpc.training.loss import Objective, output_powers
from tests.training.fake_network import FakeNetwork, examples

HERE = Processes(torch.device("cpu"))


def course(folder: Path, network: Any, *, labelled: bool, epochs: int = 3, **training: Any) -> Course:
    """64 images for training, and 32 others for validation."""
    teacher = copy.deepcopy(network).requires_grad_(False)
    teacher.quantizing = False
    data = examples(folder, 64, labelled=labelled)
    settings = Training(**{"batch": 16, "learning_rate": 0.02} | training)
    powers = output_powers(teacher({"image": torch.from_numpy(data.inputs.take(range(64))["image"])}))
    validation = examples(folder, 32, labelled=labelled, seed=3)
    return Course(settings, epochs, data, validation, Objective(teacher, powers, "scores", settings), None, "settings")


def run(
    network: Any, course: Course, interrupt: Callable[[Moment], None] = lambda moment: None
) -> tuple[tuple[Epoch, ...], list[Moment]]:
    """The epochs, and the moments that were told."""
    moments: list[Moment] = []

    def watch(moment: Moment) -> None:
        moments.append(moment)
        interrupt(moment)

    return train(network, course, HERE, watch), moments


@pytest.mark.parametrize("distillation", [0.0, 0.5])
def test_labels_are_learned(tmp_path: Path, distillation: float) -> None:
    network = FakeNetwork()
    epochs, _ = run(network, course(tmp_path, network, labelled=True, epochs=10, distillation=distillation))
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].training.name == "top-1"
    assert epochs[-1].training.value > epochs[0].training.value + 0.2


def test_without_labels_the_float_network_teaches(tmp_path: Path) -> None:
    network = FakeNetwork()
    epochs, _ = run(network, course(tmp_path, network, labelled=False, epochs=20))
    figures = [epoch.validation for epoch in epochs if epoch.validation is not None]
    assert {figure.name for figure in figures} == {"SQNR"}
    assert max(figure.value for figure in figures) > figures[0].value + 1


def test_every_step_is_told(tmp_path: Path) -> None:
    network = FakeNetwork()
    epochs, moments = run(network, course(tmp_path, network, labelled=True))
    assert [(moment.step, moment.steps) for moment in moments] == [(step, 12) for step in range(1, 13)]
    assert tuple(moment.epoch for moment in moments if moment.done) == epochs


def test_the_weights_with_the_best_validation_figure_stay(tmp_path: Path) -> None:
    network = FakeNetwork()
    plan = course(tmp_path, network, labelled=True, epochs=6, learning_rate=0.3)
    epochs, _ = run(network, plan)
    assert plan.validation is not None
    inputs = torch.from_numpy(plan.validation.inputs.take(range(32))["image"])
    right = network({"image": inputs})["scores"].argmax(1).numpy() == plan.validation.classes
    best = max(epoch.validation.value for epoch in epochs if epoch.validation)
    assert right.mean() == pytest.approx(best)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("validated", [True, False])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path, validated: bool) -> None:
    network = FakeNetwork()
    plan = course(tmp_path, network, labelled=True, epochs=4, flip=True, crop_padding=1)
    plan = plan if validated else replace(plan, validation=None)
    whole = copy.deepcopy(network)
    expected, _ = run(whole, plan)

    def interrupt(moment: Moment) -> None:
        if moment.step == 10:
            raise Interrupted

    prepare_folder(tmp_path / "checkpoints", resume=False)
    plan = replace(plan, checkpoints=tmp_path / "checkpoints")
    with pytest.raises(Interrupted):
        run(copy.deepcopy(network), plan, interrupt)
    resumed = copy.deepcopy(network)
    epochs, moments = run(resumed, plan)
    assert moments[0].step == 9
    assert epochs == expected
    assert torch.equal(resumed.weight, whole.weight)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_another_training(tmp_path: Path) -> None:
    network = FakeNetwork()
    plan = replace(course(tmp_path, network, labelled=True), checkpoints=tmp_path)
    run(network, plan)
    with pytest.raises(TrainingError, match="another model, config"):
        run(network, replace(plan, settings="others"))
    with pytest.raises(TrainingError, match="give --resume"):
        prepare_folder(tmp_path, resume=False)


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    network = FakeNetwork()
    (tmp_path / "checkpoint.pt").write_bytes(b"not one")
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        run(network, replace(course(tmp_path, network, labelled=True), checkpoints=tmp_path))


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    network = FakeNetwork()
    plan = course(tmp_path, network, labelled=True)
    assert plan.examples.classes is not None
    images = plan.examples.inputs.take(range(64))["image"]
    images[40] = 3e38
    np.save(tmp_path / "images-1.npy", images)
    with pytest.raises(TrainingError, match=r"(?s)the loss became (nan|inf).*epoch 1, step [1-4] of 4"):
        run(network, plan)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert max(rates) == rates[5] == 1
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.01
    assert math.isclose(rate(0, 1), 1)
