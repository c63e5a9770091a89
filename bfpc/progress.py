"""How the library tells that it is getting on: it hands its loops through a `Progress`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Yields `items` unchanged while showing how many of them, where their number is known, are done."""

    def __call__(self, items: Iterable[Item], description: str) -> Iterable[Item]: ...


def silent(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Shows nothing."""
    del description
    return items


def step(progress: Progress, description: str, work: Callable[[], Item]) -> Item:
    """Does one piece of work of unknown length, and returns what it makes."""
    [result] = [work() for _ in progress([None], description)]
    return result
