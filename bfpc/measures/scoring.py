"""Scores of a build and, where labels are the truth, of the float network on the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bfpc.comparison import ScorePair
from bfpc.labels import Label
from bfpc.measures.measure import Item, Measure
from bfpc.runtime.signature import Tensors


@dataclass(frozen=True)
class Collected:
    """What one measure kept of some images: of the build, and of the float network (nothing if it is the truth)."""

    build: list[Item]
    float32: list[Item]


def collect(
    measures: Sequence[Measure], outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None
) -> tuple[Collected, ...]:
    """What each measure keeps of a batch; see `Measure.collect`."""
    return tuple(
        Collected(
            measure.collect(outputs, reference, labels),
            measure.collect(reference, reference, labels) if measure.labelled else [],
        )
        for measure in measures
    )


def summarize(measures: Sequence[Measure], batches: Iterable[tuple[Collected, ...]]) -> tuple[ScorePair, ...]:
    """The scores of all measures, from what `collect` kept of every batch."""
    pairs: list[ScorePair] = []
    for measure, collected in zip(measures, zip(*batches, strict=True), strict=True):
        build = measure.summarize([item for batch in collected for item in batch.build])
        if not measure.labelled:
            pairs += map(ScorePair, build)
            continue
        of_float = measure.summarize([item for batch in collected for item in batch.float32])
        pairs += [ScorePair(ours, theirs) for ours, theirs in zip(build, of_float, strict=True)]
    return tuple(pairs)
