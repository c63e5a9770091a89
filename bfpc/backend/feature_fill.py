"""How long the array waits for a spatial tile's features, which arrive while it is at its first steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, product

from bfpc.backend.architecture import FILL_LATENCY, MIN_STEP_CYCLES
from bfpc.backend.geometry import Span
from bfpc.backend.layer_work import LayerWork


def fill_cycles(work: LayerWork, row: Span, column: Span) -> int:
    """Cycles that the array waits for a tile's features, of which it takes one vector per cycle.

    The read that comes earliest before its vector says it.
    """
    height, width = len(row.region), len(column.region)
    depth = work.vectors * height * width
    if work.windows:
        return min(FILL_LATENCY + 1, depth)
    vertical, horizontal = work.vertical.taps(row.array), work.horizontal.taps(column.array)
    passes = work.passes
    sweeps = [max(rows * columns, MIN_STEP_CYCLES) for _, rows in vertical for _, columns in horizontal]
    starts = accumulate((passes * cycles for cycles in sweeps), initial=0)
    tiles = 1 if work.parameters.dense else work.architecture.vector_groups
    vector_cycles = tiles * passes * sum(sweeps)
    latest = 0
    for start, (first_row, rows), (first_column, columns) in _tap_starts(starts, vertical, horizontal):
        for vector, down, right in _telling(work, rows, columns):
            tile_row = work.vertical.find(first_row + down * work.vertical.stride) - row.region.start
            tile_column = work.horizontal.find(first_column + right * work.horizontal.stride) - column.region.start
            place = (vector * height + tile_row) * width + tile_column
            read = vector * vector_cycles + start + down * columns + right
            latest = max(latest, min(place + FILL_LATENCY + 1, depth) - read)
    return latest


Tap = tuple[int, int]  # of an axis: the first input, and how many positions meet it


def _tap_starts(starts: Iterable[int], vertical: list[Tap], horizontal: list[Tap]) -> Iterator[tuple[int, Tap, Tap]]:
    """Every tap with the cycle in which its first sweep begins."""
    return ((start, *tap) for start, tap in zip(starts, product(vertical, horizontal), strict=False))


def _telling(work: LayerWork, rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Of the reads of a sweep, as vector, row and column, those that tell how long it waits.

    Reads get later beside their vectors with every row and column, or the other way round with every vector; the very
    last vectors may be read as soon as all are there. Where positions are found elsewhere, all of a sweep's tell.
    """
    last = FILL_LATENCY + 2
    plain = work.vertical.pad_mode == "zero"
    rights = range(max(0, columns - last) if plain else 0, columns)
    downs = range(max(0, rows - (1 if len(rights) == last else last)) if plain else 0, rows)
    vectors = {0, *range(max(0, work.vectors - (1 if len(rights) * len(downs) >= last else last)), work.vectors)}
    return product(sorted(vectors), downs, rights)
