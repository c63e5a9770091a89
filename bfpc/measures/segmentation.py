"""Segmentation: how far masks overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bfpc.comparison import Score
from bfpc.data import scale_and_crop
from bfpc.errors import DataError
from bfpc.labels import Label
from bfpc.measures.intervals import bootstrap
from bfpc.measures.measure import AGREEMENT
from bfpc.runtime.signature import Tensors

VOID = 255  # in a label of several classes: a pixel that does not count

Mask = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Pixels of each class, [classes]: in both masks, in the one measured, in the true one."""

    both: Mask
    found: Mask
    true: Mask


@dataclass(frozen=True)
class Segmentation:
    """`output` holds masks: one channel, foreground from `threshold` on, or one channel a class, the largest counts.

    Channels stand first or, where `channels_last`, last. Labels hold class indices, or for one channel 0 for the
    background and anything else for the foreground. Those of another size are scaled and cropped as pictures are, their
    shorter side to `shorter` pixels, or so far that they fit.
    """

    output: str
    labelled: bool
    threshold: float = 0.5
    channels_last: bool = False
    shorter: float = 0

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[Overlap]:
        found, classes = self._masks(outputs[self.output])
        if self.labelled:
            true = np.stack([self._label_mask(np.asarray(label), found.shape[1:], classes) for label in labels or ()])
        else:
            true, _ = self._masks(reference[self.output])
        return [_overlap(ours, theirs, classes) for ours, theirs in zip(found, true, strict=True)]

    def summarize(self, items: Sequence[Overlap]) -> tuple[Score, ...]:
        """iou and dice: from the pixels of all images together, their mean over the classes that occur."""
        both, found, true = (
            np.stack([getattr(item, part) for item in items]).astype(np.float64) for part in ("both", "found", "true")
        )

        def scores(drawn: NDArray[np.float64]) -> tuple[float, float]:
            common, sizes = drawn @ both, drawn @ (found + true)
            occurs = sizes > 0
            if not occurs.any():
                return np.nan, np.nan
            common, sizes = common[occurs], sizes[occurs]
            return float((common / (sizes - common)).mean()), float((2 * common / sizes).mean())

        suffix = "" if self.labelled else AGREEMENT
        return bootstrap((f"iou{suffix}", f"dice{suffix}"), scores, len(items))

    def _masks(self, tensor: NDArray[Any]) -> tuple[Mask, int]:
        """Class indices [images, height, width], and how many classes there are."""
        maps = np.moveaxis(tensor, -1, 1) if self.channels_last else tensor
        if maps.ndim == 3:
            maps = maps[:, np.newaxis]
        if maps.shape[1] == 1:
            return (maps[:, 0] >= self.threshold).astype(np.int64), 1
        return np.asarray(maps.argmax(axis=1), np.int64), maps.shape[1]

    def _label_mask(self, label: NDArray[Any], shape: tuple[int, ...], classes: int) -> Mask:
        label = label.squeeze() if label.ndim != 2 else label
        if label.ndim != 2 or label.dtype.kind not in "buif":
            what = f"a label is {label.dtype} {label.shape}, the masks of the output {self.output} are {shape}"
            raise DataError(what, where="labels", fix="give one number a pixel")
        mask = _fit(label.astype(np.int64), (shape[0], shape[1]), self.shorter)
        if classes == 1:
            return np.asarray(mask != 0, np.int64)
        beyond = mask[(mask < 0) | (mask >= classes) & (mask != VOID)]
        if beyond.size:
            what = f"a pixel's label is {beyond[0]}, the output {self.output} has {classes} classes"
            fix = f"count classes from 0; {VOID} stands for pixels that do not count"
            raise DataError(what, where="labels", fix=fix)
        return mask


def _fit(mask: Mask, shape: tuple[int, int], shorter: float) -> Mask:
    if mask.shape == shape:
        return mask
    picture = Image.fromarray(mask.astype(np.int32))
    return np.asarray(scale_and_crop(picture, shape, shorter, Image.Resampling.NEAREST), np.int64)


def _overlap(found: Mask, true: Mask, classes: int) -> Overlap:
    """Of one class, the foreground, which is 1 in the masks; else of all classes, from 0 on."""
    counts = found[true != VOID] if classes > 1 else found.ravel()
    truth = true[true != VOID] if classes > 1 else true.ravel()
    first, values = (1, 2) if classes == 1 else (0, classes)
    both, ours, theirs = (
        np.bincount(chosen, minlength=values)[first:] for chosen in (counts[counts == truth], counts, truth)
    )
    return Overlap(both, ours, theirs)
