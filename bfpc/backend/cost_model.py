"""How many cycles a layer takes and how many bytes it moves, for a given tile.

The model follows the generated hardware. A layer is a sequence of spatial tiles; while one is computed, the features of
the next are loaded into the other half of the feature buffer. A spatial tile is a sequence of channel tiles, which pass
through a pipeline of processes, each working on another channel tile:

- array: a step, that is a vector at a filter tap, takes one cycle per position, while the weights of the next step are
  assembled in registers, one processing element per cycle. It takes no less than `k_vec` or `MIN_STEP_CYCLES` cycles,
  nor less than memory takes to deliver the weights. Steps follow each other without a gap;
- residual load: one record per cycle, or as fast as memory delivers;
- tail: the parameters of `k_vec` channels, then one position of a pooling window per cycle;
- store: one record per cycle, or as fast as memory accepts.

The slowest process sets the pace, plus `PIPELINE_DEPTH` cycles to fill it anew; a spatial tile begins with the
first weights, after `MEMORY_LATENCY` cycles, and ends with the tail of its last channel tile. A layer begins with the
load of its first spatial tile, and is never faster than memory moves all of its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from bfpc.backend.architecture import Architecture
from bfpc.backend.feature_memory import FeatureLayout
from bfpc.backend.geometry import Axis, Span
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.ir.operators import Pair

PIPELINE_DEPTH = 32
MEMORY_LATENCY = 100
MIN_STEP_CYCLES = 16  # more than an accumulator's addition takes, as in the hardware


@dataclass(frozen=True)
class Tile:
    """Output rows and columns of a spatial tile."""

    height: int
    width: int


@dataclass(frozen=True)
class Cost:
    """Cycles and bytes of a layer, and what of the buffers it fills (in vectors and in positions)."""

    cycles: int
    dram_bytes: int
    feature_vectors: int
    accumulator_positions: int


@dataclass(frozen=True)
class LayerWork:
    """A layer as the cost model sees it. `window` is the pooling window's positions, 1 without pooling."""

    name: str
    vertical: Axis
    horizontal: Axis
    input: FeatureLayout
    output: FeatureLayout
    residual: FeatureLayout | None
    parameters: ParameterLayout
    window: int
    kernel: Pair
    architecture: Architecture

    @property
    def vectors(self) -> int:
        """Vectors of c_vec input channels that a tile holds."""
        return -(-self.input.shape[0] // self.architecture.c_vec)

    @property
    def steps(self) -> int:
        """How often the array goes over a tile's positions for one channel tile: once per vector and tap."""
        dense = self.parameters.dense
        return self.kernel[0] * self.kernel[1] * (self.vectors if dense else 1)

    @property
    def macs(self) -> int:
        """Multiplications of one image: as the graph's shapes have it, positions of zero padding included."""
        shape = self.parameters.weight_shape
        positions = self.vertical.array_size * self.horizontal.array_size
        return 0 if shape is None else math.prod(shape) * positions

    @cached_property
    def channel_tiles(self) -> tuple[range, ...]:
        return self.parameters.tiles

    def cycles_of(self, size: float) -> int:
        """Cycles in which memory moves `size` bytes."""
        return math.ceil(size / self.architecture.dram_bytes_per_cycle)


@dataclass(frozen=True)
class _TileCost:
    load: int
    compute: int
    dram_bytes: int


def layer_cost(work: LayerWork, tile: Tile) -> Cost:
    """The cost of a layer with the given tile, whether it fits the buffers or not."""
    rows, columns = work.vertical.spans(tile.height), work.horizontal.spans(tile.width)
    known: dict[tuple[int, ...], _TileCost] = {}
    costs = []
    for row in rows:
        for column in columns:
            key = (len(row.output), len(row.array), len(row.region), len(row.inside), column.output.start)
            if key not in known:
                known[key] = _tile_cost(work, row, column)
            costs.append(known[key])
    dram_bytes = sum(cost.dram_bytes for cost in costs)
    return Cost(
        cycles=max(_overlapped(costs), work.cycles_of(dram_bytes)),
        dram_bytes=dram_bytes,
        feature_vectors=_largest(span.region for span in rows)
        * _largest(span.region for span in columns)
        * work.vectors,
        accumulator_positions=_largest(span.array for span in rows) * _largest(span.array for span in columns),
    )


def _largest(ranges: Iterable[range]) -> int:
    return max(len(positions) for positions in ranges)


def _overlapped(costs: list[_TileCost]) -> int:
    """Each tile is computed while the next one is loaded."""
    loads = [cost.load for cost in costs[1:]] + [0]
    return (
        MEMORY_LATENCY + costs[0].load + sum(max(cost.compute, load) for cost, load in zip(costs, loads, strict=True))
    )


def _tile_cost(work: LayerWork, row: Span, column: Span) -> _TileCost:
    input_bytes = 8 * _region_words(work.input, row.inside, column.inside)
    output_bytes = 8 * _region_words(work.output, row.output, column.output)
    residual_bytes = 8 * _region_words(work.residual, row.array, column.array) if work.residual else 0
    weight_bytes = 8 * work.parameters.words
    records = len(row.region) * len(column.region) * work.input.groups
    return _TileCost(
        load=max(records, work.cycles_of(input_bytes)) + PIPELINE_DEPTH,
        compute=_compute_cycles(work, row, column),
        dram_bytes=input_bytes + output_bytes + residual_bytes + weight_bytes,
    )


def _region_words(layout: FeatureLayout, rows: range, columns: range) -> int:
    full = layout.region_words(0, len(rows), columns.start, columns.stop) * (layout.groups - 1)
    return full + layout.region_words(layout.groups - 1, len(rows), columns.start, columns.stop)


def _compute_cycles(work: LayerWork, row: Span, column: Span) -> int:
    last = len(work.channel_tiles) - 1
    start = MEMORY_LATENCY + work.architecture.k_vec
    paces = last * _channel_tile_cycles(work, row, column, 0) + _channel_tile_cycles(work, row, column, last)
    return start + paces + _tail_cycles(work, row, column) + PIPELINE_DEPTH


def _channel_tile_cycles(work: LayerWork, row: Span, column: Span, index: int) -> int:
    """Cycles between two channel tiles: those of the slowest process."""
    processes = (
        _array_cycles(work, len(row.array) * len(column.array), len(work.channel_tiles[index])),
        _transfer_cycles(work, work.residual, index, row.array, column.array),
        _tail_cycles(work, row, column),
        _transfer_cycles(work, work.output, index, row.output, column.output),
    )
    return max(processes) + PIPELINE_DEPTH


def _array_cycles(work: LayerWork, positions: int, channels: int) -> int:
    k_vec = work.architecture.k_vec
    weight_load = work.cycles_of(channels * work.parameters.channel_bits / 8 / work.steps)
    return work.steps * max(positions, k_vec, MIN_STEP_CYCLES, weight_load)


def _tail_cycles(work: LayerWork, row: Span, column: Span) -> int:
    return work.architecture.k_vec + len(row.output) * len(column.output) * work.window


def _transfer_cycles(work: LayerWork, layout: FeatureLayout | None, group: int, rows: range, columns: range) -> int:
    if layout is None:
        return 0
    size = 8 * layout.region_words(group, len(rows), columns.start, columns.stop)
    return max(len(rows) * len(columns), work.cycles_of(size))
