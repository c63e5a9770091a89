"""Scores of a build beside the float network's, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bfpc.comparison import ScorePair
from bfpc.labels import Labels
from bfpc.measures.measure import Item, Measure
from bfpc.runtime.signature import Tensors


@dataclass
class _Collected:
    """What a measure kept of the images so far, of the build and of the float network."""

    build: list[Item] = field(default_factory=list)
    float32: list[Item] = field(default_factory=list)


class Scoring:
    """Scores images that come batch by batch."""

    def __init__(self, measures: Sequence[Measure], labels: Labels | None) -> None:
        self._labels = labels
        self._collected = [(measure, _Collected()) for measure in measures]

    def add(self, outputs: Tensors, reference: Tensors, images: range) -> None:
        """Takes in the outputs of the build and of the float network for `images`, which the labels are found by.

        Raises DataError where a label cannot be read or does not fit.
        """
        labels = None if self._labels is None else self._labels.take(images)
        for measure, collected in self._collected:
            collected.build += measure.collect(outputs, reference, labels)
            if measure.labelled:
                collected.float32 += measure.collect(reference, reference, labels)

    def results(self) -> tuple[ScorePair, ...]:
        """The scores of all images; none where there were no images."""
        pairs: list[ScorePair] = []
        for measure, collected in self._collected:
            build = measure.summarize(collected.build) if collected.build else ()
            of_float = measure.summarize(collected.float32) if collected.float32 else (None,) * len(build)
            pairs += map(ScorePair, build, of_float)
        return tuple(pairs)
