"""How many trips the loops make that read a region of a map, or store one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import BEAT_BITS, BEAT_WORDS, CHUNK_POSITIONS
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.feature_memory import FeatureLayout

PIECE = 32  # positions that the simulator moves at a time, at least, where there are as many

Counts = NDArray[np.int64]
Piece = tuple[int, ...]


@dataclass(frozen=True)
class RegionTrips:
    """Reading a region of a map: arrays [chunks of all rows and vectors].

    planned: bursts. read: trips that read them, of which `beats` move data. unpacked: trips that make `positions` of
    records of them.
    """

    planned: int
    read: Counts
    beats: Counts
    unpacked: Counts
    positions: Counts

    @property
    def vectors(self) -> int:
        return int(self.positions.sum())

    @cached_property
    def pieces(self) -> list[Piece]:
        """read, beats, unpacked, positions: of pieces of some PIECE positions."""
        return _pieces(self.positions, self.read, self.beats, self.unpacked, self.positions)


@dataclass(frozen=True)
class StoreTrips:
    """Storing: arrays [pieces of all channel tiles and rows].

    packed: trips that make `beats` beats of `positions` records. written: trips that write their `words`.
    """

    packed: Counts
    positions: Counts
    beats: Counts
    written: Counts
    words: Counts

    @cached_property
    def pieces(self) -> list[Piece]:
        """packed, positions, beats, written, words: of pieces of some PIECE positions."""
        return _pieces(self.positions, self.packed, self.positions, self.beats, self.written, self.words)


def region_trips(
    layout: FeatureLayout, address: int, region: tuple[range, range], vectors: range, streams: int
) -> RegionTrips:
    """Reading rows and columns of the map at word `address`, in these vectors, each of `streams` channel groups.

    Bursts are of one group's chunk of a row, empty ones beyond the map.
    """
    rows, columns = region
    _, height, width = layout.shape
    groups = np.arange(vectors.start * streams, vectors.stop * streams).reshape(-1, 1, 1, streams)
    row, chunk = (
        np.arange(rows.start, rows.stop)[:, None, None],
        np.arange(-(-len(columns) // CHUNK_POSITIONS))[:, None],
    )
    bits = _of_groups(layout, layout.record_bits, groups)
    first = max(0, columns.start)
    inside = (row >= 0) & (row < height) & (groups < layout.groups)
    records: Counts = np.where(inside, max(0, min(width, columns.stop) - first), 0)
    row_bit = WORD_BITS * _row_addresses(layout, address, groups, row) + first * bits
    from_record: Counts = np.minimum(records, chunk * CHUNK_POSITIONS)
    to_record: Counts = np.minimum(records, (chunk + 1) * CHUNK_POSITIONS)
    begin, end = row_bit + from_record * bits, row_bit + to_record * bits
    first_beat = np.where(chunk == 0, begin // BEAT_BITS, beats_of(begin))  # later ones begin with what is unread
    beats = np.where(end > begin, np.maximum(beats_of(end) - first_beat, 0), 0)
    positions = np.minimum(CHUNK_POSITIONS, len(columns) - CHUNK_POSITIONS * np.arange(chunk.size))
    shape = len(vectors), len(rows), chunk.size
    unpacked = positions + _refills(layout, row_bit, bits, records, columns, chunk.size)
    return RegionTrips(
        planned=beats.size,
        read=np.maximum(beats, 1).sum(-1).reshape(-1),
        beats=beats.sum(-1).reshape(-1),
        unpacked=unpacked.reshape(-1),
        positions=np.broadcast_to(positions, shape).reshape(-1),
    )


def _refills(
    layout: FeatureLayout, row_bit: Counts, bits: Counts, records: Counts, columns: range, chunks: int
) -> Counts:
    """Trips beside those that end with a record: [vectors, rows, chunks].

    Each stream takes a beat per trip, a row's first one with the first position; the one that lacks most beats holds up
    the others. Only a row's first record lacks any, unless records are longer than a beat.
    """
    most = int(records.max()) if layout.record_bits(0) > BEAT_BITS else min(1, int(records.max()))
    record = np.arange(most + 1)[:, None]
    read = np.maximum(beats_of(row_bit % BEAT_BITS + record * bits), 1)  # beats read up to the record
    taken = np.where(record[1:] <= records, np.diff(read, axis=2), 0)
    before = max(0, -columns.start)
    in_first_trip = (record[:-1] == 0) & (before == 0)  # which has taken a beat already
    extra = np.maximum(taken - ~in_first_trip, 0).max(-1)
    padded = np.zeros((*extra.shape[:2], chunks * CHUNK_POSITIONS), np.int64)
    padded[..., before : before + most] = extra
    summed: Counts = padded.reshape(*extra.shape[:2], chunks, CHUNK_POSITIONS).sum(-1)
    return summed


def store_trips(layout: FeatureLayout, address: int, part: range, rows: range, columns: range) -> StoreTrips:
    """Storing rows and columns of the map at word `address`, the channel groups of a part one after the other.

    A trip writes a whole beat, or one word of a beat that is shared with a neighbouring row.
    """
    groups, row = np.arange(part.start, part.stop)[:, None, None], np.arange(rows.start, rows.stop)[:, None]
    bits = _of_groups(layout, layout.record_bits, groups)
    first = (_row_addresses(layout, address, groups, row) + -(-columns.start * bits // WORD_BITS)) % BEAT_WORDS
    ends: Counts = np.append(np.arange(0, len(columns), CHUNK_POSITIONS), len(columns))
    position = WORD_BITS * first + ends * bits
    whole: Counts = position // BEAT_BITS  # beats that are full
    packed: Counts = np.where(bits > BEAT_BITS, whole, ends)
    begin = np.where(first == 0, 1, BEAT_WORDS - first)
    written: Counts = np.where(whole > 0, begin + whole - 1, 0)
    words: Counts = np.where(whole > 0, BEAT_WORDS * whole - first, 0)
    # The row's last beat, unless it is full; behind one that the last record fills, it takes a trip of its own.
    last, start = -(-(position % BEAT_BITS) // WORD_BITS), np.where(whole > 0, 0, first)
    rest = np.where((start == 0) & (last == BEAT_WORDS), 1, last - start)
    ends_open: Counts = (last > 0).astype(np.int64)
    filled = (position - bits) // BEAT_BITS < whole
    positions = np.broadcast_to(np.diff(ends), (len(part), len(rows), ends.size - 1)).reshape(-1)
    return StoreTrips(
        _parts(packed, filled * ends_open),
        positions,
        _parts(whole, ends_open),
        _parts(written, rest),
        _parts(words, last - start),
    )


def _parts(totals: Counts, last: Counts | int) -> Counts:
    """What every piece adds to the totals [groups, rows, 1 + pieces], and a row's end."""
    parts: Counts = np.diff(totals, axis=-1)
    parts[..., -1] += np.broadcast_to(last, totals.shape)[..., -1]
    return parts.reshape(-1)


def _of_groups(layout: FeatureLayout, of_group: Callable[[int], int], groups: Counts) -> Counts:
    """What channel groups have, 0 where there is no such group."""
    known = np.array([*map(of_group, range(layout.groups)), 0], np.int64)
    found: Counts = known[np.minimum(groups, layout.groups)]
    return found


def _row_addresses(layout: FeatureLayout, address: int, groups: Counts, rows: Counts) -> Counts:
    plane = layout.group_words(0)
    return address + groups * plane + rows * _of_groups(layout, layout.row_words, groups)


def beats_of(bits: Counts) -> Counts:
    """Beats that hold so many bits."""
    return -(-bits // BEAT_BITS)


def _pieces(positions: Counts, *counts: Counts) -> list[Piece]:
    """Sums of counts [n] over neighbours that hold at least PIECE positions together."""
    if not positions.size:
        return []
    group = (np.cumsum(positions) - positions) // PIECE
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    return columns_as_rows(*(np.add.reduceat(each, firsts) for each in counts))


def columns_as_rows(*columns: Counts) -> list[Piece]:
    return list(zip(*(column.tolist() for column in columns), strict=True))
