"""From a detector's outputs to detections: boxes are decoded, weak ones and those that overlap a better one dropped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from bfpc.array_files import StoredArray, read_arrays
from bfpc.config_measure import Detector
from bfpc.errors import DataError
from bfpc.measures.hook import call_hook
from bfpc.runtime.signature import Tensors

MAX_CANDIDATES = 1000  # the best of an image, of which overlapping ones are dropped

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """The objects found in an image, best first. corners: [detections, (left, top, right, bottom)]."""

    classes: NDArray[np.int64]
    scores: Floats
    corners: Floats


def find_detections(outputs: Tensors, detector: Detector) -> list[Detections]:
    """The detections of each image, as `detector` says they are to be read.

    Raises DataError where the outputs, the anchors or the user's own function do not fit.
    """
    if detector.decode is not None:
        images = len(next(iter(outputs.values())))
        return [_best(*found, detector) for found in _decoded_by_hook(outputs, detector.decode, images)]
    boxes, scores = (np.asarray(outputs[name or ""], np.float64) for name in (detector.boxes, detector.scores))
    corners = _corners(boxes, detector)
    if detector.classes is not None:
        classes = np.asarray(outputs[detector.classes]).reshape(scores.shape).astype(np.int64)
        return [_best(*image, detector) for image in zip(classes, scores, corners, strict=True)]
    return [
        _best(*_candidates(image, detector), detector)
        for image in zip(_activated(scores, detector), corners, strict=True)
    ]


def _candidates(image: tuple[Floats, Floats], detector: Detector) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Every class of every anchor that is above the threshold."""
    scores, corners = image
    anchors, classes = np.nonzero(scores >= detector.score_threshold)
    return classes, scores[anchors, classes], corners[anchors]


def _activated(scores: Floats, detector: Detector) -> Floats:
    """[images, anchors, classes] as probabilities; the background has none."""
    functions = {"none": np.array, "sigmoid": expit, "softmax": lambda codes: softmax(codes, axis=-1)}
    activated: Floats = functions[detector.activation](scores)
    if detector.background is not None and detector.background < activated.shape[-1]:
        activated[..., detector.background] = -np.inf
    return activated


def _corners(boxes: Floats, detector: Detector) -> Floats:
    """Boxes [images, anchors, 4] as (left, top, right, bottom) in fractions of the picture."""
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        fix = "name the right output with measure.detection.boxes, or give a function with measure.detection.decode"
        raise DataError(
            f"the boxes have shape {boxes.shape}, not [images, anchors, 4]", where=str(detector.boxes), fix=fix
        )
    if detector.order == "yx":
        boxes = boxes[..., [1, 0, 3, 2]]
    if detector.anchors is None:
        boxes = boxes / detector.extent
    else:
        boxes = _from_anchors(boxes, _read_anchors(detector.anchors), detector.scales)
    if detector.coding == "corners" and detector.anchors is None:
        return boxes
    centers, halves = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=-1)


def _from_anchors(codes: Floats, anchors: Floats, scales: tuple[float, float]) -> Floats:
    """Centers and sizes from codes relative to anchors, as in SSD (Liu et al., 2016)."""
    if anchors.shape != codes.shape[1:]:
        what = f"the anchors have shape {anchors.shape}, the network's boxes {codes.shape[1:]}"
        raise DataError(what, where="measure.detection.anchors", fix="save one row for each box, in their order")
    centers = codes[..., :2] / scales[0] * anchors[:, 2:] + anchors[:, :2]
    return np.concatenate([centers, np.exp(codes[..., 2:] / scales[1]) * anchors[:, 2:]], axis=-1)


@cache
def _read_anchors(path: str) -> Floats:
    if not path.endswith(".npy") or not Path(path).is_file():
        fix = "save [anchors, (center x, center y, width, height)] with numpy.save"
        raise DataError("no such .npy", where=f"measure.detection.anchors: {path}", fix=fix)
    array = read_arrays(Path(path).absolute())[""]
    return np.array(array.open() if isinstance(array, StoredArray) else array, np.float64)


def _best(classes: NDArray[Any], scores: Floats, corners: Floats, detector: Detector) -> Detections:
    """The best first, without those that are below the threshold or overlap a better one of their class."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= detector.score_threshold][:MAX_CANDIDATES]
    if detector.nms_iou is not None:
        order = order[suppress(classes[order], corners[order], detector.nms_iou)]
    order = order[: detector.max_detections]
    return Detections(classes[order], scores[order], corners[order])


def suppress(classes: NDArray[np.int64], corners: Floats, limit: float) -> NDArray[np.bool_]:
    """Non-maximum suppression: which of some boxes, best first, stay.

    A box goes where a better one of its class that stays overlaps it by more than `limit`.
    """
    rivals = np.triu((intersection_over_union(corners, corners) > limit) & (classes[:, np.newaxis] == classes), 1)
    stay = np.ones(len(classes), np.bool_)
    while True:  # each round settles at least one box more: whether one stays depends on better ones alone
        settled: NDArray[np.bool_] = ~rivals[stay].any(axis=0)
        if np.array_equal(settled, stay):
            return stay
        stay = settled


def intersection_over_union(left: Floats, right: Floats) -> Floats:
    """[boxes, 4] and [others, 4] to [boxes, others]; 0 where both are empty."""
    first = np.maximum(left[:, np.newaxis, :2], right[:, :2])
    last = np.minimum(left[:, np.newaxis, 2:], right[:, 2:])
    common: Floats = (last - first).clip(min=0).prod(axis=-1)
    union = _areas(left)[:, np.newaxis] + _areas(right) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _areas(corners: Floats) -> Floats:
    areas: Floats = (corners[:, 2:] - corners[:, :2]).clip(min=0).prod(axis=-1)
    return areas


def _decoded_by_hook(outputs: Tensors, name: str, images: int) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
    found = call_hook(name, dict(outputs))
    try:
        decoded = [
            (np.asarray(classes, np.int64), np.asarray(scores, np.float64), np.asarray(corners, np.float64))
            for classes, scores, corners in found
        ]
        fits = len(decoded) == images and all(
            classes.shape == scores.shape == corners.shape[:1] and corners.shape == (len(classes), 4)
            for classes, scores, corners in decoded
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        fix = "return for each image a tuple of classes [n], scores [n] and boxes [n, (left, top, right, bottom)]"
        raise DataError("the function returned no detections", where=name, fix=fix)
    return decoded
