"""What a measure of accuracy is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from bfpc.comparison import Score
from bfpc.labels import Label
from bfpc.runtime.signature import Tensors

AGREEMENT = "_agreement"  # ends the names of scores that take the float network's outputs for the truth

Item = Any  # what a measure keeps of an image: small, and picklable


class Measure(Protocol):
    """Measures images in two steps: what counts of each, in any order and process, then the scores of all."""

    @property
    def labelled(self) -> bool:
        """Whether the truth is in the labels; if not, it is the float network's outputs."""

    def collect(self, outputs: Tensors, reference: Tensors, labels: Sequence[Label] | None) -> list[Item]:
        """One item for each image. outputs, reference: the build's and the float network's by name, [images, ...].

        Raises DataError where a label does not fit an output.
        """

    def summarize(self, items: Sequence[Item]) -> tuple[Score, ...]:
        """The scores of all images, at least one, with their intervals."""
