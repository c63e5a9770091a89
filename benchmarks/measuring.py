"""What the accuracy of each trained network is, as the config's section `measure` says it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.builds import scratch
from bfpc.config_measure import Detector, Measuring

FEATURE_MAPS = (19, 10, 5, 3, 2, 1)  # rows and columns of those that the SSD predicts boxes from
RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)  # width to height
FIRST_SCALE, LAST_SCALE, SMALLEST_SCALE = 0.2, 0.95, 0.1


def measuring(name: str) -> Measuring:
    """Of a network of `builds.TRAINED`; classifiers need nothing said."""
    if name == "oid_ssd_mobilenetv2":
        anchors = scratch() / f"{name}-anchors.npy"
        np.save(anchors, ssd_anchors())
        detector = Detector(order="yx", anchors=str(anchors), activation="sigmoid", background=0)
        return Measuring(kind="detection", detection=detector)
    kinds = {"selfie_segmentation": "segmentation", "waifu2x_cunet": "picture"}
    return Measuring.model_validate({"kind": kinds.get(name, "auto")})


@cache
def ssd_anchors() -> NDArray[np.float64]:
    """[1917, (center x, center y, width, height)] as fractions of the picture, in the order of the SSD's outputs.

    Scales rise evenly from map to map (Liu et al., 2016, section 2.2); the first map has three anchors at a place.
    """
    scales = [*np.linspace(FIRST_SCALE, LAST_SCALE, len(FEATURE_MAPS)), 1.0]
    maps = []
    for index, cells in enumerate(FEATURE_MAPS):
        own, between = scales[index], np.sqrt(scales[index] * scales[index + 1])
        shapes = [*((own, ratio) for ratio in RATIOS), (between, 1.0)]
        if index == 0:
            shapes = [(SMALLEST_SCALE, 1.0), *((own, ratio) for ratio in RATIOS[1:3])]
        scale, ratio = np.array(shapes).T
        sizes = np.stack([scale * np.sqrt(ratio), scale / np.sqrt(ratio)], axis=1)
        y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
        centers = np.stack([x, y], axis=-1).reshape(-1, 1, 2).repeat(len(sizes), axis=1)
        maps.append(np.concatenate([centers, np.broadcast_to(sizes, centers.shape)], axis=-1).reshape(-1, 4))
    return np.concatenate(maps)
