"""How many trips the generated hardware's pipelined loops make for one spatial tile, exactly.

A trip takes a cycle. Processes that the simulator follows piece by piece have arrays of trips, in the order in which
the loops run; the sums over a layer are what `make trips` counts in C simulation.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from bfpc.backend.architecture import BEAT_BITS, MIN_STEP_CYCLES
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.feature_fill import fill_cycles
from bfpc.backend.geometry import Span
from bfpc.backend.layer_work import LayerWork, Tile, pools_in_order
from bfpc.backend.map_trips import (
    PIECE,
    Counts,
    Piece,
    RegionTrips,
    StoreTrips,
    beats_of,
    columns_as_rows,
    region_trips,
    store_trips,
)
from bfpc.backend.program import LAYER_BEATS, LayerProgram
from bfpc.backend.weight_image import TABLE_WORDS
from bfpc.backend.weight_stream import dense_record_bits
from bfpc.backend.window_trips import WindowTrips, window_trips


@dataclass(frozen=True)
class WeightTrips:
    """A channel tile's part of the weight stream: its parameters, then taps of windows, then steps of the array.

    parameters: trips, 0 where they come with the first step. taps, steps: trips of each. beats: of the stream, what the
    parameters and then every tap and step take.
    """

    parameters: int
    taps: Counts
    steps: Counts
    beats: Counts

    @property
    def trips(self) -> int:
        return self.parameters + int(self.taps.sum()) + int(self.steps.sum())

    @cached_property
    def tap_pieces(self) -> list[Piece]:
        """Trips and beats of every tap."""
        return columns_as_rows(self.taps, self.beats[1 : 1 + self.taps.size])

    @cached_property
    def step_pieces(self) -> list[Piece]:
        """Trips and beats of every step."""
        return columns_as_rows(self.steps, self.beats[1 + self.taps.size :])


@dataclass(frozen=True)
class ArrayTrips:
    """The array's cycles: `fill` in which it waits for its first features, then for every channel tile `steps` [steps],
    each of which takes weights, and the last `emitting` cycles, in which `positions` leave: sums, or a map for windows.
    """

    fill: int
    steps: Counts
    emitting: int
    positions: int

    @cached_property
    def sweep(self) -> list[Piece]:
        """Cycles and positions of the pieces in which sums leave; none where a tile of windows lies beyond the map."""
        ends = np.append(np.arange(0, self.positions, PIECE), self.positions)
        return columns_as_rows(np.diff(ends * self.emitting // max(1, self.positions)), np.diff(ends))


@dataclass(frozen=True)
class PartTrips:
    """A part of a layer's channel tiles, and the trips of their weights."""

    tiles: range
    weights: tuple[WeightTrips, ...]


@dataclass(frozen=True)
class TileTrips:
    """All trips of a spatial tile.

    reads_weights: whether its weights come from DRAM, instead of from those kept on chip. begins: whether it is the
    layer's first tile. ahead_beats: of weights that are read for the next layer, behind its own. windows: of a
    depthwise layer, if it slides any. outputs: positions of the output. window: positions of a pooling window, where
    windows are pooled after positions were collected, else None.
    """

    features: RegionTrips
    residual: RegionTrips | None
    weights: tuple[WeightTrips, ...]
    reads_weights: bool
    begins: bool
    ahead_beats: int
    array: ArrayTrips
    windows: WindowTrips | None
    outputs: int
    window: int | None
    store: StoreTrips

    @cached_property
    def weight_beats(self) -> int:
        return sum(int(part.beats.sum()) for part in self.weights)

    @property
    def sums(self) -> int:
        """Positions of a channel tile that the tail takes."""
        return self.array.positions if self.windows is None else self.windows.count

    @cached_property
    def by_process(self) -> dict[str, int]:
        """The cycles in which each process of the simulator is at work."""
        tiles, residual = len(self.weights), self.residual
        return {
            "feature reads": int(self.features.read.sum()),
            "features": int(self.features.unpacked.sum()),
            "residual reads": 0 if residual is None else int(residual.read.sum()),
            "residuals": 0 if residual is None else int(residual.unpacked.sum()),
            "weight reads": self.weight_beats + self.ahead_beats,
            "weights": sum(part.trips for part in self.weights),
            "array": self.array.fill + tiles * (int(self.array.steps.sum()) + self.array.emitting),
            "windows": 0 if self.windows is None else self.windows.cycles(tiles),
            "tail": tiles * (self.sums + self.outputs * (self.window or 0)),
            "store": int(self.store.packed.sum()),
            "writes": int(self.store.written.sum()),
        }


def tile_trips(work: LayerWork, program: LayerProgram, part: PartTrips, row: Span, column: Span) -> TileTrips:
    """The trips of a part's spatial tile at `row` and `column`."""
    streams, pool, region = work.architecture.vector_groups, work.pool, (row.region, column.region)
    return TileTrips(
        features=region_trips(work.input, program.input_address, region, range(work.vectors), streams),
        residual=_residual_trips(work, program, part.tiles, row, column),
        weights=part.weights,
        reads_weights=not (program.keeps_weights and (row.output.start or column.output.start)),
        begins=not (part.tiles.start or row.output.start or column.output.start),
        ahead_beats=program.ahead_weight_beats if _is_last(work, part, row, column) else 0,
        array=_array_trips(work, row, column),
        windows=window_trips(work, row, column),
        outputs=len(row.output) * len(column.output),
        window=None if pool is None or pools_in_order(pool, len(column.output)) else math.prod(pool.kernel),
        store=store_trips(work.output, program.output_address, part.tiles, row.output, column.output),
    )


def _is_last(work: LayerWork, part: PartTrips, row: Span, column: Span) -> bool:
    """Whether it is the last spatial tile of the last part."""
    ends = work.vertical.output_size, work.horizontal.output_size
    return part.tiles.stop == len(work.channel_tiles) and (row.output.stop, column.output.stop) == ends


def layer_trips(work: LayerWork, program: LayerProgram) -> Counter[str]:
    """The trips of a layer's loops by C++ function, as its C simulation counts them."""
    trips: Counter[str] = Counter(
        read_records=LAYER_BEATS * len(work.stream_layers), load_table=TABLE_WORDS if work.table else 0
    )
    rows, columns = work.vertical.spans(program.tile_height), work.horizontal.spans(program.tile_width)
    for part, row, column in product(part_trips(work, program), rows, columns):
        trips.update(_by_function(work, tile_trips(work, program, part, row, column)))
    return +trips


def _by_function(work: LayerWork, tile: TileTrips) -> dict[str, int]:
    cycles, sums = tile.by_process, len(tile.weights) * tile.sums
    planned = tile.features.planned + (0 if tile.residual is None else tile.residual.planned)
    return {
        "plan_region": planned,
        "read_bursts": cycles["feature reads"] + cycles["residual reads"],
        "unpack_region": cycles["features"] + cycles["residuals"],
        "read_weights": cycles["weight reads"],
        "unpack_weights": cycles["weights"],
        "pass_features" if work.windows else "accumulate_steps": cycles["array"],
        "sum_windows": cycles["windows"],
        "finish_positions": sums,
        **_pooling(work, tile, sums),
        "quantize_outputs": len(tile.weights) * tile.outputs,
        "pack_outputs": cycles["store"],
        "write_beats": cycles["writes"],
    }


def _pooling(work: LayerWork, tile: TileTrips, sums: int) -> dict[str, int]:
    if work.pool is None:
        return {}
    if tile.window is None:
        return {"pool_disjoint_windows": sums}
    return {"pool_windows": sums, "pool_channel_tile": len(tile.weights) * tile.outputs * tile.window}


def _residual_trips(
    work: LayerWork, program: LayerProgram, tiles: range, row: Span, column: Span
) -> RegionTrips | None:
    if work.residual is None:
        return None
    region = work.residual_region(row, column)
    return region_trips(work.residual, program.residual_address, region, tiles, 1)


def part_trips(work: LayerWork, program: LayerProgram) -> list[PartTrips]:
    """The parts of a layer's output channels, in which all spatial tiles are alike."""
    parts = work.parts(Tile(program.tile_height, program.tile_width, program.channel_parts))
    return [PartTrips(part, _weight_trips(work, program, part)) for part in parts]


def _weight_trips(work: LayerWork, program: LayerProgram, part: range) -> tuple[WeightTrips, ...]:
    """A part's channel tiles in the weight stream, of which the part is a burst of its own."""
    first_bit = WORD_BITS * program.weight_address + work.channel_tiles[part[0]].start * work.channel_bits
    position, read, parts = first_bit % BEAT_BITS, 0, []
    parameter_bits = sum(layer.parameters.parameter_bits for layer in work.stream_layers)
    taps = sum(math.prod(layer.kernel) for layer in work.stream_layers if layer.windows)
    for tile in work.channel_tiles[part.start : part.stop]:
        steps = [_step_records(layer, len(tile)) for layer in work.stream_layers]
        records, bits = (np.concatenate(each) for each in zip(*steps, strict=True))
        alone = 0 if work.parameters.dense else len(tile)
        if work.parameters.dense:
            bits[taps] += parameter_bits
        ends = position + alone * parameter_bits + np.cumsum(np.append(0, records * bits))
        beats = np.maximum(beats_of(ends), 1) if work.channel_bits else np.zeros_like(ends)
        taken = np.diff(beats, prepend=read)
        trips = np.where(bits > BEAT_BITS, taken[1:], records)
        parts.append(WeightTrips(alone, trips[:taps], trips[taps:], taken))
        position, read = int(ends[-1]), int(beats[-1])
    return tuple(parts)


def _step_records(work: LayerWork, channels: int) -> tuple[Counts, Counts]:
    """The records of each of a channel tile's steps, and the bits of each of them: [steps]."""
    format, taps = work.parameters.weight_format, math.prod(work.kernel)
    one = np.ones(taps, np.int64)
    if format is None:
        return one, 0 * one
    if not work.parameters.dense:
        return one, channels * format.mantissa_bits * one
    c_vec = work.architecture.c_vec
    lanes = np.minimum(c_vec, work.input.shape[0] - c_vec * np.arange(work.vectors, dtype=np.int64))
    bits = np.repeat(dense_record_bits(format, lanes), taps)
    return np.full_like(bits, channels), bits


def _array_trips(work: LayerWork, row: Span, column: Span) -> ArrayTrips:
    positions = len(row.array) * len(column.array)
    fill = fill_cycles(work, row, column)
    if work.windows:  # which take what it passes on
        passed = len(row.region) * len(column.region)
        return ArrayTrips(fill, np.zeros(0, np.int64), passed, passed)
    rows, columns = (
        [met for _, met in axis.taps(span.array)] for axis, span in ((work.vertical, row), (work.horizontal, column))
    )
    sweeps = np.maximum(np.outer(rows, columns).reshape(-1), MIN_STEP_CYCLES)
    vectors = work.vectors if work.parameters.dense else 1
    steps = np.tile(work.passes * sweeps, vectors)
    if work.dilated:
        return ArrayTrips(fill, steps, max(positions, MIN_STEP_CYCLES), positions)
    last = int(sweeps[-1])
    steps[-1] -= last
    return ArrayTrips(fill, steps, last, positions)
