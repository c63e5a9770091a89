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
from bfpc.backend.weight_stream import SLOPE_BITS


@dataclass(frozen=True)
class WeightTrips:
    """A channel tile's part of the weight stream: first its parameters, then `steps` [steps] of the array.

    parameters: trips, of a loop for each of `fields`. beats: beats of the stream that the parameters and then every
    step take; [1 + steps].
    """

    fields: int
    parameters: int
    steps: Counts
    beats: Counts

    @cached_property
    def pieces(self) -> list[Piece]:
        """Trips and beats of every step."""
        return columns_as_rows(self.steps, self.beats[1:])


@dataclass(frozen=True)
class ArrayTrips:
    """The array's cycles: `fill` in which it waits for its first features, then for every channel tile `steps` [steps],
    each of which takes weights, and the last `emitting` cycles, in which `positions` sums leave."""

    fill: int
    steps: Counts
    emitting: int
    positions: int

    @cached_property
    def sweep(self) -> list[Piece]:
        """Cycles and positions of the pieces in which sums leave."""
        ends = np.append(np.arange(0, self.positions, PIECE), self.positions)
        return columns_as_rows(np.diff(ends * self.emitting // self.positions), np.diff(ends))


@dataclass(frozen=True)
class PartTrips:
    """A part of a layer's channel tiles, and the trips of their weights."""

    tiles: range
    weights: tuple[WeightTrips, ...]


@dataclass(frozen=True)
class TileTrips:
    """All trips of a spatial tile.

    reads_weights: whether its weights come from DRAM, instead of from those kept on chip. outputs: positions of the
    output. window: positions of a pooling window, where windows are pooled after positions were collected, else None.
    """

    features: RegionTrips
    residual: RegionTrips | None
    weights: tuple[WeightTrips, ...]
    reads_weights: bool
    array: ArrayTrips
    outputs: int
    window: int | None
    store: StoreTrips

    @cached_property
    def weight_beats(self) -> int:
        return sum(int(part.beats.sum()) for part in self.weights)

    @cached_property
    def by_process(self) -> dict[str, int]:
        """The cycles in which each process of the simulator is at work."""
        tiles, residual = len(self.weights), self.residual
        return {
            "feature reads": int(self.features.read.sum()),
            "features": int(self.features.unpacked.sum()),
            "residual reads": 0 if residual is None else int(residual.read.sum()),
            "residuals": 0 if residual is None else int(residual.unpacked.sum()),
            "weight reads": self.weight_beats,
            "weights": sum(part.parameters + int(part.steps.sum()) for part in self.weights),
            "array": self.array.fill + tiles * (int(self.array.steps.sum()) + self.array.emitting),
            "tail": tiles * (self.array.positions + self.outputs * (self.window or 0)),
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
        array=_array_trips(work, row, column),
        outputs=len(row.output) * len(column.output),
        window=None if pool is None or pools_in_order(pool, len(column.output)) else math.prod(pool.kernel),
        store=store_trips(work.output, program.output_address, part.tiles, row.output, column.output),
    )


def layer_trips(work: LayerWork, program: LayerProgram) -> Counter[str]:
    """The trips of a layer's loops by C++ function, as its C simulation counts them."""
    trips: Counter[str] = Counter(decode_layer=LAYER_BEATS, load_table=TABLE_WORDS if work.table else 0)
    rows, columns = work.vertical.spans(program.tile_height), work.horizontal.spans(program.tile_width)
    for part, row, column in product(part_trips(work, program), rows, columns):
        trips.update(_by_function(work, tile_trips(work, program, part, row, column)))
    return +trips


def _by_function(work: LayerWork, tile: TileTrips) -> dict[str, int]:
    cycles, sums = tile.by_process, len(tile.weights) * tile.array.positions
    planned = tile.features.planned + (0 if tile.residual is None else tile.residual.planned)
    fields = sum(part.parameters for part in tile.weights)
    weighted = "unpack_dense" if work.parameters.dense else "unpack_depthwise"
    return {
        "plan_region": planned,
        "read_bursts": cycles["feature reads"] + cycles["residual reads"],
        "unpack_region": cycles["features"] + cycles["residuals"],
        "read_weights": cycles["weight reads"],
        "unpack_field": fields,
        "make_pass_taps" if work.parameters.weight_format is None else weighted: cycles["weights"] - fields,
        "sum_windows" if work.windows else "accumulate_steps": cycles["array"],
        "finish_positions": sums,
        _pooling(work, tile): sums,
        "pool_channel_tile": cycles["tail"] - sums,
        "quantize_outputs": len(tile.weights) * tile.outputs,
        "pack_outputs": cycles["store"],
        "write_beats": cycles["writes"],
    }


def _pooling(work: LayerWork, tile: TileTrips) -> str:
    """The function that takes the positions before they are quantized."""
    if work.pool is None:
        return "forward"
    return "pool_disjoint_windows" if tile.window is None else "pool_windows"


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
    parameters, parts = work.parameters, []
    first_bit = WORD_BITS * program.weight_address + work.channel_tiles[part[0]].start * parameters.channel_bits
    position, read = first_bit % BEAT_BITS, 0
    for tile in work.channel_tiles[part.start : part.stop]:
        offset_bits = 0 if parameters.dense or parameters.weight_format is None else program.weight_exponent_bits
        fields = (parameters.bias_bits, SLOPE_BITS * parameters.has_slope, offset_bits)
        records, bits = _step_records(work, program, len(tile))
        ends = position + len(tile) * sum(fields) + np.concatenate([[0], np.cumsum(records * bits)])
        beats = np.maximum(beats_of(ends), 1) if parameters.channel_bits else np.zeros_like(ends)
        taken = np.diff(beats, prepend=read)
        steps = np.where(bits > BEAT_BITS, taken[1:], records)
        used = sum(bits > 0 for bits in fields)
        parts.append(WeightTrips(used, used * len(tile), steps, taken))
        position, read = int(ends[-1]), int(beats[-1])
    return tuple(parts)


def _step_records(work: LayerWork, program: LayerProgram, channels: int) -> tuple[int, Counts]:
    """The records of each of a channel tile's steps, and their bits: [steps]."""
    format, taps = work.parameters.weight_format, math.prod(work.kernel)
    if format is None:
        return 1, np.zeros(taps, np.int64)
    if not work.parameters.dense:
        return 1, np.full(taps, channels * format.mantissa_bits)
    c_vec, inputs = work.architecture.c_vec, program.input_channels
    lanes = np.minimum(c_vec, inputs - c_vec * np.arange(work.vectors, dtype=np.int64))
    bits = lanes * format.mantissa_bits + -(-lanes // format.block_size) * format.exponent_bits
    return channels, np.repeat(bits, taps)


def _array_trips(work: LayerWork, row: Span, column: Span) -> ArrayTrips:
    positions = len(row.array) * len(column.array)
    fill = fill_cycles(work, row, column)
    if work.windows:  # a tap in each of the first cycles
        taps = math.prod(work.kernel)
        return ArrayTrips(fill, np.ones(taps, np.int64), len(row.region) * len(column.region) - taps, positions)
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
