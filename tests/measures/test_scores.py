"""Scores, against examples that can be checked by hand, and against their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.errors import BfpcError, DataError
from bfpc.labels import Label, Labels
from bfpc.measures import Measure, choose_measures
from bfpc.measures.classification import Classification
from bfpc.measures.pictures import PictureNoise
from bfpc.measures.segmentation import Segmentation
from bfpc.runtime.signature import Signature, TensorInfo

Outputs = Mapping[str, tuple[int | str, ...]]

RANDOM = np.random.default_rng(0)


def values(measure: Measure, found: NDArray[np.float64], truth: NDArray[np.float64] | Sequence[Label]) -> list[float]:
    """The scores of the output `y`, against labels or against a reference."""
    if measure.labelled:
        items = measure.collect({"y": found}, {"y": found}, list(truth))
    else:
        items = measure.collect({"y": found}, {"y": np.asarray(truth)}, None)
    return [score.value for score in measure.summarize(items)]


def test_an_image_counts_where_its_class_is_first_or_among_the_first_five() -> None:
    scores = np.tile(np.arange(7.0), (4, 1))  # the last class is first
    assert values(Classification("y", True), scores, [6, 5, 2, 1]) == [1 / 4, 3 / 4]
    assert values(Classification("y", True), scores.reshape(4, 7, 1, 1), [6, 5, 2, 1]) == [1 / 4, 3 / 4]


def test_of_equal_scores_the_first_class_counts_and_what_is_no_number_never() -> None:
    scores = np.array([[1.0, 1.0, 0.0], [np.nan, 0.0, -1.0]])
    assert values(Classification("y", True), scores, [1, 0]) == [0.0]
    assert values(Classification("y", True), scores, [0, 1]) == [1.0]


def test_agreement_takes_the_float_networks_first_class_for_the_truth() -> None:
    reference = RANDOM.standard_normal((50, 10))
    found = reference + RANDOM.standard_normal((50, 10))
    top1, top5 = values(Classification("y", False), found, reference)
    assert top1 == (found.argmax(axis=1) == reference.argmax(axis=1)).mean()
    best = np.argsort(-found, axis=1)[:, :5]
    assert top5 == (best == reference.argmax(axis=1)[:, np.newaxis]).any(axis=1).mean()
    assert values(Classification("y", False), reference, reference) == [1.0, 1.0]


def test_a_class_beyond_the_scores_is_an_error() -> None:
    with pytest.raises(DataError, match="a label is 7, the output y has 7 classes"):
        values(Classification("y", True), np.zeros((1, 7)), [7])


#   found   true     both 2, either 4: IoU 1/2; Dice 2 * 2 / (3 + 3)
#   # # .   # . .
#   . # .   . # #
FOUND = np.array([[[[0.9, 0.5, 0.1], [0.2, 0.8, 0.4]]]])
TRUE = np.array([[255, 0, 0], [0, 255, 255]], np.uint8)


def test_the_overlap_of_one_mask() -> None:
    measure = Segmentation("y", True, threshold=0.5, channels_last=False)
    assert values(measure, FOUND, [TRUE]) == pytest.approx([2 / 4, 4 / 6])
    assert values(measure, FOUND, [TRUE == 255]) == pytest.approx([2 / 4, 4 / 6])
    # 3 of 3 in a second image: 5 of 7 pixels over both, for pixels count, not images
    assert values(measure, FOUND.repeat(2, axis=0), [TRUE, FOUND[0, 0] >= 0.5]) == pytest.approx([5 / 7, 10 / 12])


def test_the_overlap_of_classes_is_their_mean_and_void_pixels_do_not_count() -> None:
    classes = np.array([[0, 0, 1], [2, 2, 2]])
    scores = np.moveaxis(np.eye(4)[classes], -1, 0)[np.newaxis]  # [1, 4, 2, 3]; class 3 occurs nowhere
    label = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)
    expected = [np.mean([1 / 2, 1 / 2, 1]), np.mean([2 / 3, 2 / 3, 1])]
    assert values(Segmentation("y", True, 0.5, False), scores, [label]) == pytest.approx(expected)
    last = np.moveaxis(scores, 1, -1)
    assert values(Segmentation("y", True, 0.5, True), last, [label]) == pytest.approx(expected)


def test_masks_agree_with_themselves_and_two_empty_ones_have_nothing_to_measure() -> None:
    masks = RANDOM.standard_normal((3, 5, 4, 4))
    assert values(Segmentation("y", False, 0.5, False), masks, masks) == [1.0, 1.0]
    empty = np.zeros((3, 1, 4, 4))
    assert values(Segmentation("y", False, 0.5, False), empty, empty) == []


@pytest.mark.parametrize(
    ("label", "fault"),
    [
        (np.zeros((2, 3, 3), np.uint8), r"a label is uint8 \(2, 3, 3\), the masks of the output y are \(2, 3\)"),
        (np.full((2, 3), 5, np.uint8), "a pixel's label is 5, the output y has 5 classes"),
        (np.full((2, 3), -1), "a pixel's label is -1"),
    ],
)
def test_masks_that_do_not_fit_are_errors(label: NDArray[np.uint8], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        values(Segmentation("y", True, 0.5, False), np.zeros((1, 5, 2, 3)), [label])


def test_masks_of_another_size_are_scaled_and_cropped_as_pictures_are() -> None:
    label = np.zeros((40, 60), np.uint8)
    label[10:30, 30:50] = 1
    covered = np.zeros((1, 1, 20, 20))
    covered[0, 0, 5:15, 10:20] = 1  # the shorter side becomes 20, and of its 30 columns the middle 20 stay
    assert values(Segmentation("y", True), covered, [label]) == [1.0, 1.0]
    enlarged = np.zeros((1, 1, 20, 20))
    enlarged[0, 0, :, 10:20] = 1  # the shorter side becomes 40, and the middle of it stays
    assert values(Segmentation("y", True, shorter=40), enlarged, [label]) == [1.0, 1.0]


def test_noise_of_a_hundredth_of_the_peak_is_40_db() -> None:
    picture = RANDOM.uniform(size=(2, 3, 8, 8))
    noise = RANDOM.choice([-1, 1], picture.shape)
    assert values(PictureNoise("y", False, 1.0), picture + 0.01 * noise, picture) == pytest.approx([40])
    assert values(PictureNoise("y", False, 255.0), 255 * picture + 2.55 * noise, 255 * picture) == pytest.approx([40])


def test_labels_may_be_pictures_of_bytes_or_arrays_like_the_output() -> None:
    found = RANDOM.integers(0, 256, (2, 3, 4, 5)) / 255
    files: list[Label] = [np.rint(np.moveaxis(picture, 0, -1) * 255).astype(np.uint8) for picture in found]
    arrays: list[Label] = list(found)
    assert values(PictureNoise("y", True, 1.0), found, files)[0] > 140
    assert values(PictureNoise("y", True, 1.0), found, arrays) == [200]
    with pytest.raises(DataError, match=r"a label is \(8, 8, 3\), the output y is \(3, 4, 5\)"):
        values(PictureNoise("y", True, 1.0), found[:1], [np.zeros((8, 8, 3), np.uint8)])


# -- which measures a network is given ---------------------------------------------------------------------------------


def names(config: Mapping[str, object], outputs: Outputs, labels: Labels | None) -> list[str]:
    """What is measured, and of which output."""
    infos = tuple(TensorInfo(name, shape, np.dtype(np.float32)) for name, shape in outputs.items())
    image = TensorInfo("x", (1, 3, 8, 8), np.dtype(np.float32))
    chosen = choose_measures(Config.model_validate({"measure": config}), Signature((image,), infos, 1), labels)
    return [f"{type(measure).__name__} {measure.labelled}" for measure in chosen]


CLASSES, MAPS = Labels("classes", (1, 2)), Labels("maps", np.zeros((2, 4, 4)))
SCORES, MASKS = {"y": (1, 10)}, {"y": (1, 1, 4, 4)}


def test_the_kind_follows_from_the_labels_or_the_outputs() -> None:
    assert names({}, SCORES, CLASSES) == ["Classification True", "Classification False"]
    assert names({}, SCORES, None) == ["Classification False"]
    assert names({}, MASKS, None) == []
    assert names({"kind": "segmentation"}, MASKS, None) == ["Segmentation False"]
    assert names({"kind": "segmentation"}, MASKS, MAPS) == ["Segmentation True", "Segmentation False"]
    assert names({"kind": "picture"}, MASKS, None) == ["PictureNoise False"]
    assert names({"kind": "detection"}, {"b": (1, 9, 4), "s": (1, 9, 4)}, None) == ["Detection False"]


def test_masks_of_half_the_networks_size_are_of_pictures_resized_to_half() -> None:
    config = Config.model_validate({"measure": {"kind": "segmentation"}, "preprocessing": {"resize": 256}})
    infos = [
        TensorInfo(name, shape, np.dtype(np.float32))
        for name, shape in (("x", (1, 3, 224, 224)), ("y", (1, 112, 112, 21)))
    ]
    (measure,) = choose_measures(config, Signature((infos[0],), (infos[1],), 1), None)
    assert measure == Segmentation("y", False, channels_last=True, shorter=128)


@pytest.mark.parametrize(
    ("config", "outputs", "labels", "fault"),
    [
        ({}, MASKS, MAPS, "the labels are maps, which may be masks or pictures"),
        ({"kind": "picture"}, MASKS, CLASSES, "the labels are classes, which measure.kind: picture has no use for"),
        ({}, MASKS, CLASSES, r"no output holds class scores(.|\n)*y: tensor\(float\) \[1, 1, 4, 4\]"),
        ({"output": "z"}, SCORES, None, "the network has no output z"),
        ({"kind": "detection"}, SCORES, None, "no output holds boxes"),
        ({"kind": "detection"}, {"b": (1, 9, 4)}, None, "no output holds scores"),
        ({"metric": "no_such_module:f"}, SCORES, None, "no module no_such_module"),
    ],
)
def test_what_does_not_fit_together_is_named(
    config: Mapping[str, object], outputs: Outputs, labels: Labels | None, fault: str
) -> None:
    with pytest.raises(BfpcError, match=fault):
        names(config, outputs, labels)
