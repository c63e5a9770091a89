"""How many cycles a layer takes and how many bytes it moves, for a given tile.

The model counts the trips of the generated hardware's loops, one cycle each. A layer is a sequence of spatial tiles
that pass through a pipeline of processes, joined by FIFOs; each begins with the next tile when it is done with one:

- load: one vector of features per position, plus a cycle per row; the features of the next tile go into the other half
  of the feature buffer;
- weights: one record (a processing element's weights for one step) per cycle, or a digit of them, and one parameter of
  a channel;
- array: a step, that is a vector at a filter tap, takes one cycle per position that meets the tap, no less than
  `MIN_STEP_CYCLES`, as often as there are pairs of an activation's and a weight's digit; it waits for the weights of
  the step, which arrive only few steps ahead; where the map is dilated, the accumulators leave in a last sweep over all
  positions;
- residual: one channel group per position, plus a cycle per row, or a single position;
- tail: one position per cycle; a pooling layer's positions are collected first, then its windows' positions follow;
- store: one channel group per position, plus a cycle per row; as many cycles per row as whole beats, and one for every
  word of the beats that a row shares with its neighbours.

Records longer than a memory port's beat take longer, and all traffic together is no faster than memory. The slowest of
these sets the pace of a spatial tile, and takes `PIPELINE_DEPTH` cycles to begin with the next one. A layer begins with
its program record and the load of its first tile, and ends with the last tile's way through the tail to memory, as the
next layer reads what it stores. A layer's table is read before its first tile.

Depthwise layers use one lane of each processing element, 1 / c_vec of the array, whatever the tile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from bfpc.backend.architecture import BEAT_WORDS, MIN_STEP_CYCLES, Architecture
from bfpc.backend.bit_packing import WORD_BITS, WORD_BYTES
from bfpc.backend.feature_memory import FeatureLayout
from bfpc.backend.geometry import Axis, Span
from bfpc.backend.program import LAYER_WORDS
from bfpc.backend.weight_image import TABLE_WORDS
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.ir.operators import Pair
from bfpc.numerics.digits import digits_of

PIPELINE_DEPTH = 32  # cycles to fill a pipelined loop
MEMORY_LATENCY = 100


@dataclass(frozen=True)
class Tile:
    """Output rows and columns of a spatial tile."""

    height: int
    width: int


@dataclass(frozen=True)
class Cost:
    """Cycles and bytes of a layer, and what of the buffers it fills (in vectors and in positions).

    bound: the process that sets the pace for most of the cycles, or `memory`.
    """

    cycles: int
    bound: str
    dram_bytes: int
    feature_vectors: int
    accumulator_positions: int


@dataclass(frozen=True)
class LayerWork:
    """A layer as the cost model sees it.

    window: the pooling window's positions, None without pooling. table: whether its activation reads one.
    """

    name: str
    vertical: Axis
    horizontal: Axis
    input: FeatureLayout
    output: FeatureLayout
    residual: FeatureLayout | None
    parameters: ParameterLayout
    window: int | None
    table: bool
    kernel: Pair
    architecture: Architecture

    @property
    def vectors(self) -> int:
        """Vectors of c_vec input channels that a tile holds."""
        return -(-self.input.shape[0] // self.architecture.c_vec)

    @property
    def steps(self) -> int:
        """Vectors times taps: for each the array goes over a tile's positions once, or once per pair of digits."""
        dense = self.parameters.dense
        return self.kernel[0] * self.kernel[1] * (self.vectors if dense else 1)

    @property
    def activation_digits(self) -> int:
        """Digits of the input's mantissas; only dense layers split them."""
        dense, width = self.parameters.dense, self.architecture.activation_bits
        return digits_of(self.input.format.magnitude_bits, width) if dense else 1

    @property
    def weight_digits(self) -> int:
        """Digits of the weights' mantissas; only dense layers split them."""
        dense, format = self.parameters.dense, self.parameters.weight_format
        return digits_of(format.magnitude_bits, self.architecture.weight_bits) if dense and format is not None else 1

    @property
    def macs(self) -> int:
        """Multiplications of one image, positions of zero padding included.

        Output channels times input channels of the weights, times the positions that each tap meets: all of them, or
        where the map is dilated those at which it sees none of the zeros in between.
        """
        shape = self.parameters.weight_shape
        if shape is None:
            return 0
        rows, columns = (axis.met(range(axis.array_size)) for axis in (self.vertical, self.horizontal))
        return shape[0] * shape[1] * _total(rows) * _total(columns)

    @property
    def dilated(self) -> bool:
        """Whether zeros stand between the positions of the map."""
        return (self.vertical.input_dilation, self.horizontal.input_dilation) != (1, 1)

    @cached_property
    def channel_tiles(self) -> tuple[range, ...]:
        return self.parameters.tiles

    def cycles_of(self, size: float) -> int:
        """Cycles in which memory moves `size` bytes."""
        return math.ceil(size / self.architecture.dram_bytes_per_cycle)


@dataclass(frozen=True)
class TileCost:
    """Cycles of a spatial tile's processes, by name; `finish` is what follows the array's last position."""

    load: int
    processes: dict[str, int]
    finish: int
    load_bytes: int
    other_bytes: int


def layer_cost(work: LayerWork, tile: Tile) -> Cost:
    """The cost of a layer with the given tile, whether it fits the buffers or not."""
    rows, columns = work.vertical.spans(tile.height), work.horizontal.spans(tile.width)
    costs = tile_costs(work, tile)
    paces = _paces(work, costs)
    bounds: Counter[str] = Counter()
    for bound, cycles in paces:
        bounds[bound] += cycles
    table_bytes = WORD_BYTES * TABLE_WORDS if work.table else 0
    return Cost(
        cycles=_start(work, costs[0]) + bounds.total() + costs[-1].finish,
        bound=bounds.most_common(1)[0][0],
        dram_bytes=table_bytes + sum(cost.load_bytes + cost.other_bytes for cost in costs),
        feature_vectors=_largest(span.region for span in rows)
        * _largest(span.region for span in columns)
        * work.vectors,
        accumulator_positions=_largest(span.array for span in rows) * _largest(span.array for span in columns),
    )


def tile_costs(work: LayerWork, tile: Tile) -> list[TileCost]:
    """The costs of a layer's spatial tiles, in their order."""
    known: dict[tuple[int, ...], TileCost] = {}
    costs = []
    for row in work.vertical.spans(tile.height):
        for column in work.horizontal.spans(tile.width):
            phase = row.array.start % work.vertical.input_dilation
            key = (len(row.output), len(row.array), len(row.region), len(row.inside), phase, column.output.start)
            if key not in known:
                known[key] = _tile_cost(work, row, column)
            costs.append(known[key])
    return costs


def _largest(ranges: Iterable[range]) -> int:
    return max(len(positions) for positions in ranges)


def _start(work: LayerWork, first: TileCost) -> int:
    """Until the array's first position: the program record, a table, then the first features, beside them weights."""
    program = MEMORY_LATENCY + LAYER_WORDS + PIPELINE_DEPTH
    table = MEMORY_LATENCY + TABLE_WORDS + PIPELINE_DEPTH if work.table else 0
    return program + table + max(first.load, MEMORY_LATENCY + work.architecture.k_vec)


def _paces(work: LayerWork, costs: list[TileCost]) -> list[tuple[str, int]]:
    """Each tile's slowest process, while the next tile is loaded, and its cycles."""
    loads = [(cost.load, cost.load_bytes) for cost in costs[1:]] + [(0, 0)]
    paces = []
    for cost, (load, load_bytes) in zip(costs, loads, strict=True):
        cycles = {**cost.processes, "load": load, "memory": work.cycles_of(load_bytes + cost.other_bytes)}
        bound = max(cycles, key=lambda name: cycles[name])
        paces.append((bound, cycles[bound] + PIPELINE_DEPTH))
    return paces


def _tile_cost(work: LayerWork, row: Span, column: Span) -> TileCost:
    load_bytes = WORD_BYTES * _region_words(work.input, row.inside, column.inside)
    output_bytes = WORD_BYTES * _region_words(work.output, row.output, column.output)
    residual = _residual_region(work, row, column)
    residual_bytes = WORD_BYTES * _region_words(*residual) if residual else 0
    weight_bytes = WORD_BYTES * work.parameters.words
    tiles, positions = len(work.channel_tiles), len(row.array) * len(column.array)
    windows = len(row.output) * len(column.output) * work.window + 2 * PIPELINE_DEPTH if work.window else 0
    store = _store_cycles(work, row, column)
    return TileCost(
        load=_load_cycles(work, row, column, load_bytes),
        processes={
            "array": _array_cycles(work, row, column),
            "weights": _weight_cycles(work),
            "residual": tiles * _record_cycles(*residual) if residual else 0,
            "tail": tiles * (positions + windows),
            "store": tiles * store,
        },
        finish=windows + store // len(row.output) + 4 * PIPELINE_DEPTH + MEMORY_LATENCY,
        load_bytes=load_bytes,
        other_bytes=output_bytes + residual_bytes + weight_bytes,
    )


def _residual_region(work: LayerWork, row: Span, column: Span) -> tuple[FeatureLayout, range, range] | None:
    """The residual's layout, and the rows and columns of it that a tile needs."""
    if work.residual is None:
        return None
    broadcast = work.residual.shape[1:] == (1, 1)
    return (work.residual, range(1), range(1)) if broadcast else (work.residual, row.array, column.array)


def _region_words(layout: FeatureLayout, rows: range, columns: range) -> int:
    full = layout.region_words(0, len(rows), columns.start, columns.stop) * (layout.groups - 1)
    return full + layout.region_words(layout.groups - 1, len(rows), columns.start, columns.stop)


def _beats(bits: int) -> int:
    return -(-bits // (WORD_BITS * BEAT_WORDS))


def _unpacking(records: int, bits: int) -> int:
    """Cycles for records of `bits`: one each, but no more than a beat per cycle."""
    return max(records, _beats(records * bits))


def _record_cycles(layout: FeatureLayout, rows: range, columns: range) -> int:
    """Cycles for the positions of a region, and one more per row, for one channel group (or vector)."""
    return len(rows) * (_unpacking(len(columns), layout.record_bits(0)) + 1)


def _load_cycles(work: LayerWork, row: Span, column: Span, size: int) -> int:
    """All groups of a vector are unpacked at once, but their rows come through one port, cut out of whole beats."""
    unpacking = work.vectors * _record_cycles(work.input, row.region, column.region)
    row_beats = _beats(len(column.inside) * work.input.record_bits(0)) + 1
    reading = work.input.groups * len(row.inside) * row_beats
    return MEMORY_LATENCY + max(unpacking, reading, work.cycles_of(size))


def _store_cycles(work: LayerWork, row: Span, column: Span) -> int:
    """Cycles of a channel tile: packing, or writing rows whose first and last beat hold up to 7 words of theirs."""
    words = work.output.region_words(0, 1, column.output.start, column.output.stop)
    writing = words // BEAT_WORDS + 2 * (BEAT_WORDS - 1)
    return max(_record_cycles(work.output, row.output, column.output), len(row.output) * writing)


def _step_records(work: LayerWork, channels: int) -> int:
    """Cycles in which a step's weights are unpacked."""
    parameters = work.parameters
    if parameters.weight_format is None or parameters.weight_shape is None:
        return 1
    mantissa_bits, exponent_bits = parameters.weight_format.mantissa_bits, parameters.weight_format.exponent_bits
    if not parameters.dense:
        return _unpacking(1, channels * mantissa_bits)
    lanes = min(work.architecture.c_vec, parameters.weight_shape[1])
    blocks = -(-lanes // parameters.weight_format.block_size)
    later_digits = channels * (work.weight_digits - 1)
    return later_digits + _unpacking(channels, lanes * mantissa_bits + blocks * exponent_bits)


def _array_cycles(work: LayerWork, row: Span, column: Span) -> int:
    rows, columns = work.vertical.met(row.array), work.horizontal.met(column.array)
    drain = max(len(row.array) * len(column.array), MIN_STEP_CYCLES) if work.dilated else 0
    vectors, pairs = work.steps // math.prod(work.kernel), work.activation_digits * work.weight_digits
    cycles = 0
    for tile in work.channel_tiles:
        delivery = work.cycles_of(len(tile) * work.parameters.weight_bits / 8 / work.steps)
        least = max(_step_records(work, len(tile)), delivery)
        taps = sum(
            rows[r] * columns[c] * max(pairs * max(r * c, MIN_STEP_CYCLES), least) for r in rows for c in columns
        )
        cycles += vectors * taps + drain
    return cycles


def _total(met: Counter[int]) -> int:
    """Positions that all taps of an axis meet together."""
    return sum(positions * taps for positions, taps in met.items())


def _weight_cycles(work: LayerWork) -> int:
    """Cycles of unpacking the weights and parameters of all channel tiles."""
    parameters = work.parameters
    fields = int(parameters.bias_bits > 0) + parameters.has_slope
    fields += not parameters.dense and parameters.weight_format is not None  # depthwise exponents
    return sum(
        fields * (len(tile) + PIPELINE_DEPTH) + work.steps * _step_records(work, len(tile)) + PIPELINE_DEPTH
        for tile in work.channel_tiles
    )
