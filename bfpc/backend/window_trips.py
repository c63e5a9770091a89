"""The cycles of depthwise windows: a position of the map enters in each, until the last window is complete."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bfpc.backend.geometry import Span
from bfpc.backend.layer_work import LayerWork
from bfpc.backend.map_trips import PIECE, Counts, Piece, columns_as_rows
from bfpc.ir.operators import Pair


@dataclass(frozen=True)
class WindowTrips:
    """A channel tile's windows.

    map: rows and columns that enter, row after row. windows: rows and columns of them. ends: the row and column of the
    position with which the first window is complete; those beyond the right edge count into the next row. taps: of the
    filter, one of which arrives in each cycle from the first on.
    """

    map: Pair
    windows: Pair
    ends: Pair
    stride: Pair
    taps: int

    @property
    def positions(self) -> int:
        return math.prod(self.map)

    @property
    def count(self) -> int:
        return math.prod(self.windows)

    @property
    def waits(self) -> int:
        """Cycles in which the first window waits for taps."""
        return max(0, self.taps - 1 - self._completes(0, 0))

    @property
    def cycles(self) -> int:
        return self.waits + self._completes(self.windows[0] - 1, self.windows[1] - 1) + 1

    def _completes(self, row: int, column: int) -> int:
        """Positions that enter before the one that completes a window."""
        end_row, end_column = self.ends[0] + row * self.stride[0], self.ends[1] + column * self.stride[1]
        return end_row * self.map[1] + end_column

    @cached_property
    def pieces(self) -> list[Piece]:
        """Trips, positions that enter and windows that are complete: of some PIECE trips each."""
        rows, columns = (
            end + stride * np.arange(count, dtype=np.int64)
            for end, stride, count in zip(self.ends, self.stride, self.windows, strict=True)
        )
        completes = (rows[:, None] * self.map[1] + columns).reshape(-1)
        moves = self.cycles - self.waits  # in which the window moves on
        ends: Counts = np.append(np.arange(0, moves, PIECE), moves)
        trips = np.diff(ends)
        trips[np.searchsorted(ends, completes[0], "right") - 1] += self.waits
        made = np.searchsorted(completes, ends)
        return columns_as_rows(trips, np.diff(np.minimum(ends, self.positions)), np.diff(made))


def window_trips(work: LayerWork, row: Span, column: Span) -> WindowTrips | None:
    """Those of a spatial tile: of a layer that slides windows, or of one behind; None without any."""
    last, spans = work.behind or work, (row, column)
    if not last.windows:
        return None
    axes = (work.vertical, work.horizontal)
    if work.behind is None:
        map = (len(row.region), len(column.region))
        windows = (len(row.array), len(column.array))
        starts = [axis.place(span.array) - span.region.start for axis, span in zip(axes, spans, strict=True)]
    elif work.pool is not None:  # a pass: every position is a window of its own, for the tail to pool
        map = windows = (len(row.array), len(column.array))
        starts = [0, 0]
    else:
        map = (len(row.array), len(column.array))
        windows = (len(row.output), len(column.output))
        starts = [axis.window_start(span.output) - span.array.start for axis, span in zip(axes, spans, strict=True)]
    ends = (starts[0] + last.kernel[0] - 1, starts[1] + last.kernel[1] - 1)
    return WindowTrips(map, windows, ends, (last.vertical.stride, last.horizontal.stride), math.prod(last.kernel))
