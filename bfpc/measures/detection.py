"""Detection: mean average precision, as COCO defines it.

Detections of an image, best first, take the true box of their class that they overlap most, of those that are left and
that they overlap by at least a threshold; those that find none are wrong. Over all images, precision at a recall is
the best at that recall or beyond; its mean over 101 recalls from 0 to 1 is a class's average precision, and the mean
over the classes that occur in the truth is the score. There are no crowds and no sizes of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.comparison import Score
from bfpc.config_measure import Detector
from bfpc.errors import DataError
from bfpc.labels import Boxes, Label
from bfpc.measures.boxes import Detections, Floats, find_detections, intersection_over_union
from bfpc.measures.intervals import bootstrap
from bfpc.measures.measure import AGREEMENT
from bfpc.runtime.signature import Tensors

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
EPSILON = 1e-12  # a recall such as 3 / 10 is not exactly a number of RECALLS


@dataclass(frozen=True)
class Matches:
    """An image's detections, best first, and its true boxes.

    classes, scores: [detections]; right: [detections, overlaps], which found a true box; true: classes [boxes].
    """

    classes: NDArray[np.int64]
    scores: Floats
    right: NDArray[np.bool_]
    true: NDArray[np.int64]


@dataclass(frozen=True)
class Detection:
    """Detections as `detector` reads them from the outputs."""

    detector: Detector
    labelled: bool

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[Matches]:
        found = find_detections(outputs, self.detector)
        truth = self._labelled(outputs, labels or ()) if self.labelled else self._confident(reference)
        return [match(detections, boxes) for detections, boxes in zip(found, truth, strict=True)]

    def summarize(self, items: Sequence[Matches]) -> tuple[Score, ...]:
        """ap: the mean over thresholds of overlap from 0.5 to 0.95; ap50: at 0.5. None without true boxes."""
        tables = [_table(items, index) for index in np.unique(np.concatenate([item.true for item in items]))]

        def scores(drawn: Floats) -> tuple[float, float]:
            precisions = np.array([_average_precision(table, drawn) for table in tables]).reshape(-1, len(OVERLAPS))
            occurring = precisions[~np.isnan(precisions[:, 0])]
            return (float(occurring.mean()), float(occurring[:, 0].mean())) if len(occurring) else (np.nan, np.nan)

        suffix = "" if self.labelled else AGREEMENT
        return bootstrap((f"ap{suffix}", f"ap50{suffix}"), scores, len(items))

    def _labelled(self, outputs: Tensors, labels: Sequence[Label]) -> list[Boxes]:
        """The boxes of labels. Raises DataError where a class is beyond those of the network."""
        truth = [label for label in labels if isinstance(label, Boxes)]
        largest = max((int(boxes.classes.max(initial=-1)) for boxes in truth), default=-1)
        known = self.detector.decode is None and self.detector.classes is None
        classes = outputs[self.detector.scores or ""].shape[-1] if known else largest + 1
        if largest >= classes:
            what = f"a label is {largest}, the output {self.detector.scores} has {classes} classes"
            raise DataError(what, where="labels", fix="count classes from 0, in the order of the network's outputs")
        return truth

    def _confident(self, reference: Tensors) -> list[Boxes]:
        """The float network's detections that count as true."""
        truth = []
        for found in find_detections(reference, self.detector):
            sure = found.scores >= self.detector.truth_threshold
            truth.append(Boxes(found.classes[sure], found.corners[sure]))
        return truth


def match(found: Detections, true: Boxes) -> Matches:
    """Gives each detection, best first, the true box that it overlaps most of those that none before it took."""
    overlap = intersection_over_union(found.corners, true.corners)
    overlap[found.classes[:, np.newaxis] != true.classes] = -1
    free = np.ones((len(OVERLAPS), len(true.classes)), np.bool_)
    right = np.zeros((len(found.classes), len(OVERLAPS)), np.bool_)
    every = np.arange(len(OVERLAPS))
    for index, row in enumerate(overlap if len(true.classes) else ()):
        candidates = np.where(free, row, -1)
        best = candidates.argmax(axis=1)
        right[index] = candidates[every, best] >= OVERLAPS
        free[every[right[index]], best[right[index]]] = False
    return Matches(found.classes, found.scores, right, true.classes)


@dataclass(frozen=True)
class _Table:
    """A class's detections in all images, best first.

    images: [detections], where each was found; right: for each overlap, the places of those that found a true box;
    true: [images], how many true boxes there are.
    """

    images: NDArray[np.intp]
    right: tuple[NDArray[np.intp], ...]
    true: Floats


def _table(items: Sequence[Matches], index: int) -> _Table:
    chosen = [item.classes == index for item in items]
    scores = np.concatenate([item.scores[own] for item, own in zip(items, chosen, strict=True)])
    images = np.repeat(np.arange(len(items)), [own.sum() for own in chosen])
    right = np.concatenate([item.right[own] for item, own in zip(items, chosen, strict=True)])
    order = np.argsort(-scores, kind="stable")
    true = np.array([(item.true == index).sum() for item in items], np.float64)
    return _Table(images[order], tuple(map(np.flatnonzero, right[order].T)), true)


def _average_precision(table: _Table, drawn: Floats) -> Floats:
    """[overlaps], where each image counts as often as it is drawn; NaN where no true box is."""
    boxes = float(drawn @ table.true)
    if not boxes:
        return np.full(len(OVERLAPS), np.nan)
    weights = drawn[table.images]
    found = np.maximum(weights.cumsum(), 1)
    return np.array([_area(weights[places].cumsum(), found[places], boxes) for places in table.right])


def _area(right: Floats, found: Floats, boxes: float) -> float:
    """The mean precision over all recalls.

    right, found: at each right detection, how many are right, and how many there are, up to there.
    """
    best = np.maximum.accumulate((right / found)[::-1])[::-1]
    reached = np.searchsorted(right / boxes, RECALLS - EPSILON)
    return float(np.append(best, 0)[reached].mean())  # of recalls that are not reached, 0
