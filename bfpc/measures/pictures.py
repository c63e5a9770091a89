"""Pictures: how near those that a network makes are to the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.comparison import Score, sqnr_db
from bfpc.errors import DataError
from bfpc.labels import Label
from bfpc.measures.intervals import mean
from bfpc.measures.measure import AGREEMENT
from bfpc.runtime.signature import Tensors

WHITE = 255  # in a picture of bytes


@dataclass(frozen=True)
class PictureNoise:
    """`output` holds pictures from 0 to `peak`. Labels are of its size: bytes, or numbers from 0 to `peak`."""

    output: str
    labelled: bool
    peak: float

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[float]:
        found = outputs[self.output]
        if self.labelled:
            true = np.stack([self._picture(np.asarray(label), found.shape[1:]) for label in labels or ()])
        else:
            true = reference[self.output]
        noise = np.square(found.astype(np.float64) - true).reshape(len(found), -1).mean(axis=1)
        return [sqnr_db(self.peak**2, float(power)) for power in noise]

    def summarize(self, items: Sequence[float]) -> tuple[Score, ...]:
        """psnr_db: the mean over images of each one's peak signal to noise ratio."""
        return mean(f"psnr_db{'' if self.labelled else AGREEMENT}", np.array(items))

    def _picture(self, label: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """A label as the output has it; of pictures, the channels stand last."""
        values = label * (self.peak / WHITE) if label.dtype == np.uint8 else label.astype(np.float64)
        layouts = (values, np.moveaxis(values, -1, 0), values[np.newaxis], values[..., np.newaxis])
        fitting = next((layout for layout in layouts if layout.shape == shape), None)
        if fitting is None:
            what = f"a label is {label.shape}, the output {self.output} is {shape}"
            raise DataError(what, where="labels", fix="give pictures in the size and channels of the network's output")
        return fitting
