"""Labels: every form in which they may come, and what is said of those that do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bfpc.errors import DataError
from bfpc.labels import Boxes, load_labels


def write_json(folder: Path, content: object) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_classes_by_the_names_of_pictures(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"dog.jpg": 3, "cat": 5, "7": 1, "v1.5": 2, "unused": 9})
    labels = load_labels(path, ["cat", "dog", "007", "v1.5"])
    assert labels.kind == "classes"
    assert labels.take([0, 1, 2, 3]) == [5, 3, 1, 2]
    assert labels.take([2]) == [1]


def test_classes_in_the_order_of_the_images(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([4, 2, 7], np.uint8))
    np.savez(tmp_path / "labels.npz", labels=np.array([4, 2, 7]), pictures=np.zeros((3, 8)))
    for file in ("labels.npy", "labels.npz"):
        labels = load_labels(tmp_path / file, ["a", "b"])
        assert len(labels) == 2
        assert labels.take([1, 0]) == [2, 4]


def test_boxes(tmp_path: Path) -> None:
    content = {"a": [{"class": 2, "box": [0.1, 0.2, 0.3, 0.4]}, {"class": 0, "box": [0, 0, 1, 1]}], "b.png": []}
    labels = load_labels(write_json(tmp_path, content), ["a", "b"])
    first, second = labels.take([0, 1])
    assert labels.kind == "boxes"
    assert isinstance(first, Boxes)
    assert isinstance(second, Boxes)
    assert first.classes.tolist() == [2, 0]
    assert first.corners.tolist() == [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]]
    assert second.corners.shape == (0, 4)


def test_maps_are_read_when_they_are_taken(tmp_path: Path) -> None:
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    indexed = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), mode="P")
    indexed.putpalette(list(range(12)))
    indexed.save(tmp_path / "b.png")
    np.save(tmp_path / "c.npy", np.full((2, 2), 7))
    labels = pickle.loads(pickle.dumps(load_labels(tmp_path, ["c", "a", "b"])))
    assert labels.kind == "maps"
    assert [np.asarray(label).tolist() for label in labels.take([1, 2, 0])] == [
        [[0, 255], [255, 0]],
        [[0, 1], [2, 3]],
        [[7, 7], [7, 7]],
    ]


def test_maps_of_an_array_stay_in_their_file(tmp_path: Path) -> None:
    maps = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "maps.npy", maps)
    labels = load_labels(tmp_path / "maps.npy", ["0", "1"])
    assert len(pickle.dumps(labels)) < 1000
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(labels)).take([1])[0]), maps[1])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([1, 2], "the JSON is no object"),
        ({"a": 1}, "1 of 2 images have no label: b"),
        ({"a": 1, "b": "cat"}, "the label of b is 'cat'"),
        ({"a": 1, "b": -1}, "the label of b is -1"),
        ({"a": 1, "b": True}, "the label of b is True"),
        ({"a": 1, "b": []}, "the label of a is 1"),
        ({"a": [], "b": [{"class": 1}]}, "not a list of objects with class and box(.|\n)*label of b"),
        ({"a": [], "b": [{"class": 1, "box": [0, 0, 1]}]}, "not a list of objects with class and box"),
        ({"a": [], "b": [{"class": 1.5, "box": [0, 0, 1, 1]}]}, "not a list of objects with class and box"),
        ({"a": [], "b": ["x"]}, "not a list of objects with class and box"),
        ({"a": [], "b": [{"class": 1, "box": [0, 0, 300, 200]}]}, "boxes are empty or beyond the picture"),
        ({"a": [], "b": [{"class": 1, "box": [0.5, 0, 0.4, 1]}]}, "boxes are empty or beyond the picture"),
    ],
)
def test_json_that_does_not_fit(content: object, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=fault):
        load_labels(write_json(tmp_path, content), ["a", "b"])


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "labels.csv").write_text("a,1")
    np.save(tmp_path / "short.npy", np.zeros(1, np.int64))
    np.save(tmp_path / "real.npy", np.zeros(2))
    np.savez(tmp_path / "other.npz", classes=np.zeros(2, np.int64))
    faults = {
        "text.json": "not readable as JSON",
        "labels.csv": "not a file of labels",
        "nowhere.json": "no such file or folder",
        "short.npy": "1 label for 2 images",
        "real.npy": "labels of float64",
        "other.npz": "no array labels; the file holds classes",
        ".": "2 of 2 images have no label: a, b",
    }
    for file, fault in faults.items():
        with pytest.raises(DataError, match=fault):
            load_labels(tmp_path / file, ["a", "b"])
