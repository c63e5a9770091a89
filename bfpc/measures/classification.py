"""Classification: how often the right class is first, or among the first five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.comparison import Score
from bfpc.errors import DataError
from bfpc.labels import Label
from bfpc.measures.intervals import proportion
from bfpc.measures.measure import AGREEMENT
from bfpc.runtime.signature import Tensors

TOPS = (1, 5)


@dataclass(frozen=True)
class ClassPlace:
    """place: how many classes stand before the right one. classes: how many there are."""

    place: int
    classes: int


@dataclass(frozen=True)
class Classification:
    """`output` holds class scores, [images, classes]; axes of length 1 may follow or stand between."""

    output: str
    labelled: bool

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[ClassPlace]:
        scores = _scores(outputs[self.output])
        if self.labelled:
            right = _class_indices(labels or (), scores.shape[1], self.output)
        else:
            right = _scores(reference[self.output]).argmax(axis=1)
        return [ClassPlace(int(place), scores.shape[1]) for place in _places(scores, right)]

    def summarize(self, items: Sequence[ClassPlace]) -> tuple[Score, ...]:
        """top1, and of more than five classes top5. Without labels, of the class that the float network has first."""
        places, suffix = np.array([item.place for item in items]), "" if self.labelled else AGREEMENT
        tops = [top for top in TOPS if top < items[0].classes]
        return tuple(proportion(f"top{top}{suffix}", places < top) for top in tops)


def _scores(tensor: NDArray[np.floating]) -> NDArray[np.floating]:
    """[images, classes]; what is no number comes last."""
    flat = tensor.reshape(len(tensor), -1)
    return np.where(np.isnan(flat), -np.inf, flat)


def _places(scores: NDArray[np.floating], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes come before the right one: those with a higher score, of equal ones those of lower index."""
    own = np.take_along_axis(scores, right[:, np.newaxis], axis=1)
    before = np.arange(scores.shape[1]) < right[:, np.newaxis]
    places: NDArray[np.int64] = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return places


def _class_indices(labels: Sequence[Label], classes: int, output: str) -> NDArray[np.int64]:
    indices = np.array(labels, np.int64)
    if indices.max() >= classes:
        what = f"a label is {indices.max()}, the output {output} has {classes} classes"
        raise DataError(what, where="labels", fix="count classes from 0, in the order of the network's outputs")
    return indices
