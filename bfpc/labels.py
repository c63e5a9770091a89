"""Labels of images: classes, boxes, or maps such as masks and pictures, as a file or folder holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bfpc.array_files import StoredArray, read_arrays
from bfpc.data import PICTURES, Array, list_folder, open_picture
from bfpc.errors import DataError, short

FORMATS = "give a JSON file by picture names, a .npy, a .npz with the key labels, or a folder of pictures"
SHOWN_NAMES = 3
MOST_CLASSES = 1 << 31

Kind = Literal["classes", "boxes", "maps"]


@dataclass(frozen=True)
class Boxes:
    """The labelled objects of an image. classes: [objects]; corners: [objects, (left, top, right, bottom)].

    Corners are fractions of the picture as the network sees it, that is after scaling and cropping.
    """

    classes: NDArray[np.int64]
    corners: NDArray[np.float64]


Label = int | Boxes | Array  # the class of an image, its objects, or a map: a mask, a picture


@dataclass(frozen=True)
class Labels:
    """One label for each image. Pickled, labels that lie in files are just their places."""

    kind: Kind
    entries: tuple[int | Boxes | Path, ...] | Array | StoredArray

    def __len__(self) -> int:
        return len(self.entries) if isinstance(self.entries, tuple) else int(self.entries.shape[0])

    def take(self, indices: Sequence[int]) -> list[Label]:
        """The labels of these images. Raises DataError where a file cannot be read."""
        if isinstance(self.entries, tuple):
            return [_read_map(entry) if isinstance(entry, Path) else entry for entry in map(self._entry, indices)]
        opened = self.entries.open() if isinstance(self.entries, StoredArray) else self.entries
        return [np.array(opened[index]) for index in indices]

    def _entry(self, index: int) -> int | Boxes | Path:
        assert isinstance(self.entries, tuple)
        return self.entries[index]


def load_labels(path: Path, names: Sequence[str]) -> Labels:
    """The labels of the images `names`, in their order.

    `path` is one of

    - a JSON file, from names of pictures, with or without suffix and leading zeros, to a class index or a list of
      objects: `{"cat.jpg": 281}`, `{"cat": [{"class": 0, "box": [0.1, 0.2, 0.8, 0.9]}]}`;
    - a .npy, or a .npz with the key `labels`: class indices [images] or maps [images, ...], in the order of the images;
    - a folder of maps, pictures or .npy, each named like the picture that it belongs to.

    Raises DataError where it cannot be read, or a label is missing.
    """
    if path.is_dir():
        return Labels("maps", _find_files(path, names))
    if not path.is_file():
        raise DataError("no such file or folder", where=str(path), fix=FORMATS)
    if path.suffix == ".json":
        return _from_json(path, names)
    if path.suffix in (".npy", ".npz"):
        return _from_array(path, len(names))
    raise DataError("not a file of labels", where=str(path), fix=FORMATS)


def _find_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    files = {
        _number(path.stem): path for path in sorted(list_folder(folder)) if path.suffix.lower() in (*PICTURES, ".npy")
    }
    return tuple(files[_number(name)] for name in _check_complete(files, names, folder))


def _read_map(path: Path) -> Array:
    """A picture as [height, width] or [height, width, channels]; of a palette, the indices."""
    if path.suffix != ".npy":
        return np.asarray(open_picture(path))
    array = read_arrays(path.absolute())[""]
    return np.array(array.open() if isinstance(array, StoredArray) else array)


def _from_json(path: Path, names: Sequence[str]) -> Labels:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"not readable as JSON: {error}", where=str(path), fix=FORMATS) from None
    if not isinstance(content, dict):
        raise DataError("the JSON is no object", where=str(path), fix='write {"name of a picture": label, ...}')
    by_name = {_number(Path(name).stem): label for name, label in content.items()}
    by_name |= {_number(name): label for name, label in content.items()}
    chosen = {name: by_name[_number(name)] for name in _check_complete(by_name, names, path)}
    indices = [name for name, label in chosen.items() if type(label) is int and 0 <= label < MOST_CLASSES]
    if len(indices) == len(chosen):
        return Labels("classes", tuple(chosen[name] for name in names))
    wrong = [name for name, label in chosen.items() if not isinstance(label, list)]
    if wrong:
        name = next((name for name in wrong if name not in indices), wrong[0])
        fix = 'give class indices to all images, or a list of {"class": c, "box": [left, top, right, bottom]} to all'
        raise DataError(f"the label of {name} is {short(chosen[name])}", where=str(path), fix=fix)
    boxes = {name: _to_boxes(label, f"{path}, label of {name}") for name, label in chosen.items()}
    return Labels("boxes", tuple(boxes[name] for name in names))


def _number(name: str) -> str:
    """A name that is a number without its leading zeros: 7 labels 007.jpg."""
    return (name.lstrip("0") or "0") if name.isdecimal() else name


def _check_complete(labels: Mapping[str, Any], names: Sequence[str], where: Path) -> Sequence[str]:
    missing = [name for name in names if _number(name) not in labels]
    if missing:
        listed = ", ".join(missing[:SHOWN_NAMES]) + (" ..." if len(missing) > SHOWN_NAMES else "")
        what = f"{len(missing)} of {len(names)} images have no label: {listed}"
        raise DataError(what, where=str(where), fix="labels are found by the names of the pictures")
    return names


def _to_boxes(objects: list[Any], where: str) -> Boxes:
    try:
        classes = np.array([entry["class"] for entry in objects], np.float64)
        corners = np.array([entry["box"] for entry in objects], np.float64).reshape(-1, 4)
    except (TypeError, KeyError, ValueError, OverflowError):
        classes = corners = np.full((len(objects), 4), np.nan)
    proper = len(corners) == len(classes) and np.isfinite(corners).all() and classes.ndim == 1
    if not (
        proper and (classes == np.floor(classes)).all() and (classes >= 0).all() and (classes < MOST_CLASSES).all()
    ):
        fix = 'write [{"class": 0, "box": [left, top, right, bottom]}, ...]'
        raise DataError("not a list of objects with class and box", where=where, fix=fix)
    empty = (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    if empty.any() or (corners > 1).any() or (corners < 0).any():
        fix = "give [left, top, right, bottom] as fractions of the picture, from 0 to 1"
        raise DataError(f"boxes are empty or beyond the picture: {short(corners.tolist())}", where=where, fix=fix)
    return Boxes(classes.astype(np.int64), corners)


def _from_array(path: Path, images: int) -> Labels:
    arrays = read_arrays(path.absolute())
    key = "" if path.suffix == ".npy" else "labels"
    if key not in arrays:
        raise DataError(f"no array labels; the file holds {', '.join(arrays)}", where=str(path), fix=FORMATS)
    array = arrays[key]
    count = array.shape[0] if array.shape else 0
    if count < images:
        fix = "give one label for each image, in the order of the images"
        raise DataError(f"{count} label{'' if count == 1 else 's'} for {images} images", where=str(path), fix=fix)
    if len(array.shape) > 1:
        return Labels("maps", array)
    classes = np.array(array.open() if isinstance(array, StoredArray) else array)[:images]
    if classes.dtype.kind not in "iu" or classes.min(initial=0) < 0:
        raise DataError(f"labels of {classes.dtype}, or below 0", where=str(path), fix="give whole numbers from 0 on")
    return Labels("classes", tuple(classes.tolist()))
