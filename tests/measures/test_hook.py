"""Functions of the user's: what they are given, and what becomes of their mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bfpc.config_measure import Detector
from bfpc.errors import DataError
from bfpc.measures import load_hook
from bfpc.measures.boxes import find_detections
from bfpc.measures.hook import Metric

MODULE = """
import numpy as np

def closeness(outputs, reference, labels):
    return -np.abs(outputs["y"] - reference["y"]).max(axis=1)

def by_label(outputs, reference, labels):
    return [float(scores.argmax() == label) for scores, label in zip(outputs["y"], labels)]

def one(outputs, reference, labels):
    return 1.0

def nothing(outputs, reference, labels):
    pass

def fails(outputs, reference, labels):
    return outputs["z"]

def boxes(outputs):
    return [(np.array([1]), image, np.array([[0, 0, 1, 1]])) for image in outputs["y"][:, :1]]

number = 3
"""
FOUND = np.array([[0.0, 1.0, 0.25], [1.0, 0.5, 0.0]])
REFERENCE = np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory; its name is in no other test."""
    (tmp_path / "user_metrics.py").write_text(MODULE)
    (tmp_path / "broken_metrics.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "user_metrics"


def test_a_metric_sees_both_networks_outputs_and_gives_a_number_for_each_image() -> None:
    metric = Metric("user_metrics:closeness")
    items = metric.collect({"y": FOUND}, {"y": REFERENCE}, None)
    assert items == [-0.25, -0.5]
    (score,) = metric.summarize(items)
    assert (score.name, score.value, score.images) == ("closeness", -0.375, 2)


def test_a_metric_sees_the_labels() -> None:
    assert Metric("user_metrics:by_label").collect({"y": FOUND}, {"y": REFERENCE}, [1, 2]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("user_metrics", "names no function"),
        ("no_such_metrics:f", "no module no_such_metrics"),
        ("broken_metrics:f", "importing broken_metrics fails: ZeroDivisionError"),
        ("user_metrics:nowhere", "user_metrics has no function nowhere"),
        ("user_metrics:number", "user_metrics has no function number"),
    ],
)
def test_a_function_that_is_not_there(name: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        load_hook(name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("one", "the function returned 1.0 for a batch of 2"),
        ("nothing", "the function returned None for a batch of 2"),
        ("fails", r"the function fails: KeyError: 'z'\n  where: user_metrics:fails, .*user_metrics.py:17"),
    ],
)
def test_a_function_that_does_not_do_its_work(name: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        Metric(f"user_metrics:{name}").collect({"y": FOUND}, {"y": REFERENCE}, None)


def test_a_function_may_decode_detections() -> None:
    first, second = find_detections({"y": FOUND}, Detector(decode="user_metrics:boxes"))
    assert len(first.scores) == 0  # 0.0 is below the threshold
    assert (second.classes.tolist(), second.scores.tolist()) == ([1], [1.0])
    with pytest.raises(DataError, match="missing 2 required positional arguments"):
        find_detections({"y": FOUND}, Detector(decode="user_metrics:one"))
