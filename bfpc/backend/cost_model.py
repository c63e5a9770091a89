"""How many cycles a layer takes and how many bytes it moves, for a given tile.

The model counts the trips of the generated hardware's loops, one cycle each. A layer is a sequence of spatial tiles
that pass through a pipeline of processes, joined by FIFOs; each begins with the next tile when it is done with one:

- load: one vector of features per position, plus a cycle per row, into a FIFO that holds a whole tile;
- weights: one record (a processing element's weights for one step) per cycle, and one parameter of a channel;
- array: a step, that is a vector at a filter tap, takes one cycle per position that meets the tap, no less than
  `MIN_STEP_CYCLES`, as often as there are pairs of an activation's and a weight's digit, or half as often where two
  digits lie side by side in the lanes; it waits for the weights of
  the step, which arrive only few steps ahead, and for features that are not there yet: it takes one vector per cycle
  out of the FIFO; where the map is dilated, the accumulators leave in a last sweep over all positions; a depthwise
  layer whose filter fits the windows takes one cycle per position of its input;
- residual: one channel group per position, plus a cycle per row, or a single position;
- tail: one position per cycle; where pooling windows overlap, positions are collected first, then the windows'
  positions follow;
- store: one channel group per position, plus a cycle per row; as many cycles per row as whole beats, and one for every
  word of the beats that a row shares with its neighbours.

Records longer than a memory port's beat take longer; reads of maps on chip share a port of that memory; and all traffic
with DRAM together is no faster than it. The slowest of these sets the pace of a spatial tile, and takes
`PIPELINE_DEPTH` cycles to begin with the next one. A layer begins with its program record and its first features and
weights, and ends with the last tile's way through the tail to memory, as the next layer reads what it stores. A layer's
table is read before its first tile.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from bfpc.backend.architecture import BEAT_BITS, BEAT_WORDS, MIN_STEP_CYCLES
from bfpc.backend.bit_packing import WORD_BYTES, words_for
from bfpc.backend.feature_fill import fill_cycles
from bfpc.backend.feature_memory import FeatureLayout
from bfpc.backend.geometry import Span
from bfpc.backend.layer_work import BuffersUsed, LayerWork, Tile, buffers_used, pools_in_order
from bfpc.backend.weight_image import TABLE_WORDS
from bfpc.backend.window_trips import window_trips

PIPELINE_DEPTH = 32  # cycles to fill a pipelined loop
MEMORY_LATENCY = 100
ON_CHIP_LATENCY = 16


@dataclass(frozen=True)
class Cost:
    """Cycles and bytes of a layer. bound: the process that sets the pace for most of the cycles, or `memory`."""

    cycles: int
    bound: str
    dram_bytes: int
    buffers: BuffersUsed


@dataclass(frozen=True)
class TileCost:
    """Cycles of a spatial tile's processes, by name; `finish` is what follows the array's last position."""

    processes: dict[str, int]
    finish: int
    dram_bytes: int


def layer_cost(work: LayerWork, tile: Tile) -> Cost:
    """The cost of a layer with the given tile, whether it fits the buffers or not."""
    costs = tile_costs(work, tile)
    bounds: Counter[str] = Counter()
    for cost, count in costs:
        bound, cycles = _pace(work, cost)
        bounds[bound] += count * cycles
    return Cost(
        cycles=_start(work) + bounds.total() + costs[-1][0].finish,
        bound=bounds.most_common(1)[0][0],
        dram_bytes=work.table_bytes + sum(count * cost.dram_bytes for cost, count in costs),
        buffers=buffers_used(work, tile),
    )


def tile_costs(work: LayerWork, tile: Tile) -> list[tuple[TileCost, int]]:
    """The costs of a layer's spatial tiles, those of alike rows together, with their number; the last tile's last."""
    parts = work.parts(tile)
    costs = _part_costs(work, tile, parts[-1])
    if len(parts) == 1:
        return costs
    return [(cost, (len(parts) - 1) * count) for cost, count in _part_costs(work, tile, parts[0])] + costs


def _part_costs(work: LayerWork, tile: Tile, part: range) -> list[tuple[TileCost, int]]:
    """Where weights are kept, the part's first spatial tile alone reads them."""
    spans, columns = work.vertical.spans(tile.height), work.horizontal.spans(tile.width)
    rows: dict[tuple[int, ...], list[Span]] = {}
    for row in spans:
        rows.setdefault(work.vertical.kind(row), []).append(row)
    by_last = sorted(rows.values(), key=lambda alike: alike[-1].output.start)
    keeps = work.keeps_weights(tile)
    costs = [
        (
            _tile_cost(work, alike[-1], column, part, not keeps),
            len(alike) - (keeps and alike[0] is spans[0] and column is columns[0]),
        )
        for alike in by_last
        for column in columns
    ]
    return [(_tile_cost(work, spans[0], columns[0], part, True), 1), *costs] if keeps else costs


def _start(work: LayerWork) -> int:
    """Until the array's first position: a table, then the first features and the first weights."""
    table = MEMORY_LATENCY + TABLE_WORDS + PIPELINE_DEPTH if work.table else 0
    return table + MEMORY_LATENCY + work.architecture.k_vec


def _pace(work: LayerWork, cost: TileCost) -> tuple[str, int]:
    """A tile's slowest process, and its cycles."""
    cycles = {**cost.processes, "memory": work.cycles_of(cost.dram_bytes)}
    bound = max(cycles, key=lambda name: cycles[name])
    return bound, cycles[bound] + PIPELINE_DEPTH


def _tile_cost(work: LayerWork, row: Span, column: Span, part: range, reads_weights: bool) -> TileCost:
    """A spatial tile for a part of the channel tiles, with weights from DRAM or from those kept on chip."""
    residual = work.residual_region(row, column)
    groups = range(work.input.groups)
    maps = {
        "input": _region_words(work.input, groups, row.inside, column.inside),
        "residual": _region_words(work.residual, part, *residual) if work.residual else 0,
        "output": _region_words(work.output, part, row.output, column.output),
    }
    in_dram = sum(words for role, words in maps.items() if role not in work.on_chip)
    if reads_weights:
        in_dram += words_for(work.part_channels(part) * work.channel_bits)
    read_on_chip = sum(words for role, words in maps.items() if role in work.on_chip - {"output"})
    sliding = window_trips(work, row, column)
    tiles = len(part)
    positions = len(row.array) * len(column.array) if sliding is None else sliding.count
    windows = 0
    if work.pool is not None and not pools_in_order(work.pool, len(column.output)):
        windows = len(row.output) * len(column.output) * math.prod(work.pool.kernel) + 2 * PIPELINE_DEPTH
    store = _store_cycles(work, row, column)
    pipelines = 4 + (sliding is not None) + (work.pool is not None)  # of the array and what follows, but the writes
    latency = ON_CHIP_LATENCY if "output" in work.on_chip else MEMORY_LATENCY
    return TileCost(
        processes={
            "load": _load_cycles(work, row, column),
            "array": _array_cycles(work, row, column, part, reads_weights),
            "windows": 0 if sliding is None else sliding.cycles(tiles),
            "weights": _weight_cycles(work, part),
            "residual": tiles * _record_cycles(work.residual, *residual) if work.residual else 0,
            "tail": tiles * (positions + windows),
            "store": tiles * store,
            "on-chip memory": read_on_chip // BEAT_WORDS,
        },
        finish=windows + store // len(row.output) + pipelines * PIPELINE_DEPTH + latency,
        dram_bytes=WORD_BYTES * in_dram,
    )


def _region_words(layout: FeatureLayout, groups: range, rows: range, columns: range) -> int:
    """Words of a region's channel groups, all alike but the last."""
    full = layout.region_words(0, len(rows), columns.start, columns.stop) * (len(groups) - 1)
    return full + layout.region_words(groups[-1], len(rows), columns.start, columns.stop)


def _beats(bits: int) -> int:
    return -(-bits // BEAT_BITS)


def _unpacking(records: int, bits: int) -> int:
    """Cycles for records of `bits`: one each, but no more than a beat per cycle."""
    return max(records, _beats(records * bits))


def _record_cycles(layout: FeatureLayout, rows: range, columns: range) -> int:
    """Cycles for the positions of a region, and at most one more per row, for one channel group (or vector)."""
    return len(rows) * (_unpacking(len(columns), layout.record_bits(0)) + 1)


def _load_cycles(work: LayerWork, row: Span, column: Span) -> int:
    """All groups of a vector are unpacked at once, but their rows come through one port, cut out of whole beats."""
    unpacking = work.vectors * _record_cycles(work.input, row.region, column.region)
    row_beats = _beats(len(column.inside) * work.input.record_bits(0)) + 1
    reading = work.input.groups * len(row.inside) * row_beats
    return max(unpacking, reading)


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
    if parameters.dense:
        return _unpacking(channels, parameters.record_bits)
    return _unpacking(1, channels * parameters.weight_format.mantissa_bits)


def _array_cycles(work: LayerWork, row: Span, column: Span, part: range, reads_weights: bool) -> int:
    fill = fill_cycles(work, row, column)
    if work.windows:
        return fill + len(part) * len(row.region) * len(column.region)
    rows, columns = work.vertical.met(row.array), work.horizontal.met(column.array)
    drain = max(len(row.array) * len(column.array), MIN_STEP_CYCLES) if work.dilated else 0
    vectors, passes = work.steps // math.prod(work.kernel), work.passes
    cycles = fill
    for tile in work.channel_tiles[part.start : part.stop]:
        delivered = len(tile) * work.parameters.weight_bits / 8 / work.steps
        delivery = work.cycles_of(delivered) if reads_weights else 0
        least = max(_step_records(work, len(tile)), delivery)
        taps = sum(
            rows[r] * columns[c] * max(passes * max(r * c, MIN_STEP_CYCLES), least) for r in rows for c in columns
        )
        cycles += vectors * taps + drain
    return cycles


def _weight_cycles(work: LayerWork, part: range) -> int:
    """Cycles of unpacking the parameters and weights of a part's channel tiles, those of a layer behind as well."""
    tiles = [len(tile) for tile in work.channel_tiles[part.start : part.stop]]
    steps = sum(layer.steps * _step_records(layer, tile) for tile in tiles for layer in work.stream_layers)
    alone = 0 if work.parameters.dense else sum(tiles)  # the parameters of others come with their first weights
    return alone + steps + PIPELINE_DEPTH
