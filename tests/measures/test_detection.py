"""Detections and their average precision, against worked examples and a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config_measure import Detector
from bfpc.errors import DataError
from bfpc.labels import Boxes
from bfpc.measures.boxes import Detections, find_detections, intersection_over_union, suppress
from bfpc.measures.detection import OVERLAPS, Detection, Matches, match

RANDOM = np.random.default_rng(0)


def boxes(*corners: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(corners, np.float64).reshape(-1, 4)


def average_precision(items: list[Matches]) -> tuple[float, float]:
    ap, ap50 = Detection(Detector(), labelled=True).summarize(items)
    return ap.value, ap50.value


def test_a_precision_recall_curve_by_hand() -> None:
    # Three true boxes; five detections, best first, of which the first, third and fifth are right:
    #
    #   precision  1 |*---
    #            2/3 |    ----*---
    #            3/5 |            ----*
    #              0 +-----------------
    #                0   1/3  2/3     1   recall
    #
    # 34 of the 101 recalls (0 to 0.33) see 1, 33 (0.34 to 0.66) see 2/3, 34 (0.67 to 1) see 3/5.
    places = boxes((0, 0, 0.2, 0.2), (0.4, 0, 0.6, 0.2), (0.8, 0, 1, 0.2))
    miss = boxes((0, 0.5, 0.2, 0.7))
    found = np.concatenate([places[:1], miss, places[1:2], miss, places[2:]])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    item = match(Detections(np.zeros(5, np.int64), scores, found), Boxes(np.zeros(3, np.int64), places))
    expected = (34 * 1 + 33 * 2 / 3 + 34 * 3 / 5) / 101
    assert average_precision([item]) == pytest.approx((expected, expected))


def test_a_true_box_is_found_once_and_by_its_own_class() -> None:
    true = Boxes(np.array([0, 1]), boxes((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)))
    found = Detections(np.array([0, 0, 0]), np.array([0.9, 0.8, 0.7]), true.corners[[0, 0, 1]])
    assert match(found, true).right[:, 0].tolist() == [True, False, False]


def test_how_much_a_box_must_overlap() -> None:
    true = Boxes(np.array([0]), boxes((0, 0, 1, 1)))
    found = Detections(np.array([0]), np.array([0.9]), boxes((0, 0, 1, 0.7)))  # overlaps by 0.7
    assert match(found, true).right[0].tolist() == [overlap < 0.72 for overlap in OVERLAPS]
    assert average_precision([match(found, true)]) == (0.5, 1.0)


def random_image() -> tuple[Detections, Boxes]:
    """Detections near true boxes, some of the wrong class, with scores that repeat."""
    count, found = RANDOM.integers(1, 6), RANDOM.integers(0, 20)
    corners = RANDOM.uniform(0, 0.6, (count, 4))
    corners[:, 2:] = corners[:, :2] + RANDOM.uniform(0.05, 0.4, (count, 2))
    classes = RANDOM.integers(0, 3, count)
    source = RANDOM.integers(0, count, found)
    near = corners[source] + RANDOM.normal(0, 0.02, (found, 4))
    kinds = np.where(RANDOM.uniform(size=found) < 0.8, classes[source], RANDOM.integers(0, 4, found))
    return Detections(kinds, -np.sort(-RANDOM.uniform(size=found).round(1)), near), Boxes(classes, corners)


def plain_average_precision(images: list[tuple[Detections, Boxes]], overlap: float) -> float:
    """The definition, box by box."""
    precisions = []
    for kind in sorted({int(kind) for _, true in images for kind in true.classes}):
        ranked, total = [], 0
        for found, true in images:
            left = [corners for own, corners in zip(true.classes, true.corners, strict=True) if own == kind]
            total += len(left)
            for own, score, corners in zip(found.classes, found.scores, found.corners, strict=True):
                if own == kind:
                    near = [plain_overlap(corners, other) for other in left]
                    hit = bool(near) and max(near) >= overlap
                    ranked.append((score, hit))
                    if hit:
                        left.pop(int(np.argmax(near)))
        ranked.sort(key=lambda entry: -entry[0])
        curve = [(sum(hit for _, hit in ranked[:end]), end) for end in range(1, len(ranked) + 1)]
        points = [
            max((right / end for right, end in curve if 100 * right >= percent * total), default=0.0)
            for percent in range(101)
        ]
        precisions.append(np.mean(points))
    return float(np.mean(precisions))


def plain_overlap(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    width = min(left[2], right[2]) - max(left[0], right[0])
    height = min(left[3], right[3]) - max(left[1], right[1])
    common = max(width, 0) * max(height, 0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (left, right)]
    return float(common / (sum(sizes) - common)) if common else 0.0


def test_average_precision_is_what_its_definition_says() -> None:
    images = [random_image() for _ in range(12)]
    found = average_precision([match(*image) for image in images])
    expected = [plain_average_precision(images, overlap) for overlap in OVERLAPS]
    assert 0.1 < np.mean(expected) < 0.9
    assert found == pytest.approx((np.mean(expected), expected[0]))


def test_the_interval_holds_the_value_and_narrows_with_more_images() -> None:
    few, many = ([match(*random_image()) for _ in range(count)] for count in (10, 160))
    widths = []
    for items in (few, many):
        ap, _ = Detection(Detector(), labelled=True).summarize(items)
        assert ap.low is not None
        assert ap.high is not None
        assert ap.low < ap.value < ap.high
        widths.append(ap.high - ap.low)
    assert 2 < widths[0] / widths[1] < 8  # the square root of 16, roughly


def test_without_true_boxes_there_is_nothing_to_measure() -> None:
    found, _ = random_image()
    assert Detection(Detector(), labelled=True).summarize([match(found, Boxes(np.zeros(0, np.int64), boxes()))]) == ()


# -- from outputs to detections ----------------------------------------------------------------------------------------


def test_suppression_is_that_of_one_box_after_the_other() -> None:
    classes = RANDOM.integers(0, 3, 200)
    corners = RANDOM.uniform(0, 0.7, (200, 4))
    corners[:, 2:] = corners[:, :2] + 0.3
    kept: list[int] = []
    for index in range(200):
        rivals = [other for other in kept if classes[other] == classes[index]]
        if all(plain_overlap(corners[other], corners[index]) <= 0.4 for other in rivals):
            kept.append(index)
    assert 20 < len(kept) < 180
    assert np.flatnonzero(suppress(classes, corners, 0.4)).tolist() == kept


def test_empty_boxes_overlap_nothing() -> None:
    assert intersection_over_union(boxes((0.5, 0.5, 0.5, 0.5)), boxes((0.5, 0.5, 0.5, 0.5), (0, 0, 1, 1))).tolist() == [
        [0, 0]
    ]


CORNERS = boxes((0.1, 0.2, 0.3, 0.6), (0.5, 0.5, 1.0, 0.75))
CENTERS = boxes((0.2, 0.4, 0.2, 0.4), (0.75, 0.625, 0.5, 0.25))
PROBABILITIES = np.array([[0.1, 0.9], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("coded", "settings"),
    [
        (CORNERS, {}),
        (CORNERS * 300, {"extent": 300.0}),
        (CORNERS[:, [1, 0, 3, 2]], {"order": "yx"}),
        (CENTERS, {"coding": "centers"}),
        (CENTERS[:, [1, 0, 3, 2]] * 2, {"coding": "centers", "order": "yx", "extent": 2.0}),
    ],
)
def test_boxes_come_as_the_config_says(coded: NDArray[np.float64], settings: dict[str, object]) -> None:
    detector = Detector.model_validate({"boxes": "b", "scores": "s", "score_threshold": 0.5, **settings})
    (found,) = find_detections({"b": coded[np.newaxis], "s": PROBABILITIES[np.newaxis]}, detector)
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == [0.9, 0.6]
    np.testing.assert_allclose(found.corners, CORNERS)


def test_boxes_relative_to_anchors(tmp_path: Path) -> None:
    anchors = boxes((0.25, 0.25, 0.4, 0.2), (0.7, 0.5, 0.5, 0.5))
    np.save(tmp_path / "anchors.npy", anchors)
    codes = np.concatenate(
        [(CENTERS[:, :2] - anchors[:, :2]) / anchors[:, 2:] * 10, np.log(CENTERS[:, 2:] / anchors[:, 2:]) * 5], axis=1
    )
    detector = Detector(boxes="b", scores="s", score_threshold=0.5, anchors=str(tmp_path / "anchors.npy"))
    (found,) = find_detections({"b": codes[np.newaxis], "s": PROBABILITIES[np.newaxis]}, detector)
    np.testing.assert_allclose(found.corners, CORNERS)
    with pytest.raises(DataError, match=r"the anchors have shape \(2, 4\), the network's boxes \(1, 4\)"):
        find_detections({"b": codes[np.newaxis, :1], "s": PROBABILITIES[np.newaxis, :1]}, detector)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_scores_become_probabilities_and_the_background_is_no_object(activation: str) -> None:
    odds = {"sigmoid": np.log(PROBABILITIES / (1 - PROBABILITIES)), "softmax": np.log(PROBABILITIES)}
    detector = Detector.model_validate({"boxes": "b", "scores": "s", "activation": activation, "background": 0})
    (found,) = find_detections({"b": CORNERS[np.newaxis], "s": odds[activation][np.newaxis]}, detector)
    assert found.classes.tolist() == [1, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.4])


def test_a_network_that_ends_in_detections() -> None:
    outputs = {"b": CORNERS[np.newaxis], "s": np.array([[0.3, 0.8]]), "c": np.array([[4.0, 2.0]])}
    (found,) = find_detections(outputs, Detector(boxes="b", scores="s", classes="c", nms_iou=None))
    assert (found.classes.tolist(), found.scores.tolist()) == ([2, 4], [0.8, 0.3])


def test_the_float_networks_confident_detections_are_the_truth_without_labels() -> None:
    detector = Detector(boxes="b", scores="s", score_threshold=0.05, truth_threshold=0.5)
    outputs = {"b": CORNERS[np.newaxis], "s": PROBABILITIES[np.newaxis]}
    (item,) = Detection(detector, labelled=False).collect(outputs, outputs, None)
    assert item.true.tolist() == [1, 0]
    assert item.classes.tolist() == [1, 0, 1, 0]
    assert [score.value for score in Detection(detector, labelled=False).summarize([item])] == [1.0, 1.0]


def test_labelled_boxes_are_the_truth() -> None:
    detector = Detector(boxes="b", scores="s", score_threshold=0.5)
    outputs = {"b": CORNERS[np.newaxis], "s": PROBABILITIES[np.newaxis]}
    labels = [Boxes(np.array([1, 0]), CORNERS)]
    (item,) = Detection(detector, labelled=True).collect(outputs, {}, labels)
    assert [(score.name, score.value) for score in Detection(detector, True).summarize([item])] == [
        ("ap", 1),
        ("ap50", 1),
    ]
    with pytest.raises(DataError, match="a label is 2, the output s has 2 classes"):
        Detection(detector, labelled=True).collect(outputs, {}, [Boxes(np.array([2]), CORNERS[:1])])
