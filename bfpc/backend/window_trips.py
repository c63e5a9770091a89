"""The cycles of depthwise windows: a position of the map enters in each, until the last window is complete.

Channel tiles follow each other at once. Windows that reach beyond the bottom or the right edge of one's map become
complete while the next one's positions enter, the last tile's in cycles of their own.
"""

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
    """The windows of each channel tile of a spatial tile.

    map: rows and columns that enter, row after row. windows: rows and columns of them. ends: the row and column of the
    position with which the first window is complete; those beyond the right edge count into the next row. taps: of the
    filter, one of which arrives in each cycle from the first on.
    """

    map: Pair
    windows: Pair
    ends: Pair
    stride: Pair
    taps: int

    def __post_init__(self) -> None:
        """Windows of two channel tiles never become complete together.

        As `slides_windows` demands, fewer rows lie beyond the map above and below than the filter has, and columns
        likewise: below * columns + right <= (rows - 1 - above) * columns + columns of the filter - 1 - left.
        """
        assert 0 <= self.flush <= self._completes(0, 0)

    @property
    def positions(self) -> int:
        return math.prod(self.map)

    @property
    def count(self) -> int:
        return math.prod(self.windows)

    @property
    def flush(self) -> int:
        """Moves of the window after a channel tile's last position, until the last window is complete."""
        return self._completes(self.windows[0] - 1, self.windows[1] - 1) + 1 - self.positions

    @property
    def period(self) -> int:
        """Moves from a channel tile's first position to the next one's.

        More than positions only where maps are tiny: weights are kept for two channel tiles, no more.
        """
        return max(self.positions, self.flush)

    @property
    def waits(self) -> int:
        """Cycles in which a channel tile waits for taps: all are there before its first window, and the next tile."""
        return max(0, self.taps - 1 - self._moves_before_taps)

    def cycles(self, channel_tiles: int) -> int:
        """Of a spatial tile."""
        return channel_tiles * (self.period + self.waits) + self.positions + self.flush - self.period

    @property
    def _moves_before_taps(self) -> int:
        """Moves before the one that waits for the last tap."""
        return min(self._completes(0, 0), self.period - 1)

    def _completes(self, row: int, column: int) -> int:
        """Moves from a channel tile's first position to the one that completes a window."""
        end_row, end_column = self.ends[0] + row * self.stride[0], self.ends[1] + column * self.stride[1]
        return end_row * self.map[1] + end_column

    @cached_property
    def first_pieces(self) -> list[Piece]:
        """Of the first channel tile: trips, positions that enter and windows that are complete, in PIECE trips each."""
        return self._pieces(self._completions, self.period, self.positions, self.waits)

    @cached_property
    def next_pieces(self) -> list[Piece]:
        """Of one that enters while windows of the one before become complete."""
        completions = np.append(self._late_completions, self._completions)
        return self._pieces(completions, self.period, self.positions, self.waits)

    @cached_property
    def last_pieces(self) -> list[Piece]:
        """What follows the last one."""
        return self._pieces(self._late_completions, self.positions + self.flush - self.period)

    def _pieces(self, completions: Counts, moves: int, positions: int = 0, waits: int = 0) -> list[Piece]:
        ends: Counts = np.append(np.arange(0, moves, PIECE), moves)
        trips = np.diff(ends + waits * (ends > self._moves_before_taps))
        made = np.searchsorted(completions, ends)
        return columns_as_rows(trips, np.diff(np.minimum(ends, positions)), np.diff(made))

    @cached_property
    def _completions(self) -> Counts:
        """The move that completes each of a channel tile's windows."""
        rows, columns = (
            end + stride * np.arange(count, dtype=np.int64)
            for end, stride, count in zip(self.ends, self.stride, self.windows, strict=True)
        )
        return (rows[:, None] * self.map[1] + columns).reshape(-1)

    @property
    def _late_completions(self) -> Counts:
        """Those after the period, from its end on."""
        return self._completions[self._completions >= self.period] - self.period


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
