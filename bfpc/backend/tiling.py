"""The choice of a layer's tile and loop order: of the fastest that fit the buffers that with the least memory traffic.

Spatial tiles outermost, the input is read once, and weights for every tile unless all of them stay on chip. Parts of
the output channels outermost, weights are read once, as a part's stay on chip, and the input for every part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.cost_model import Cost, layer_cost
from bfpc.backend.layer_work import LayerWork, Tile, buffers_used
from bfpc.errors import CapacityError

MOST_TILES = 128  # that are compared, the largest of those that fit: small ones read halos again and again
CYCLE_SLACK = 0.02  # buys a quarter less traffic on ResNet-50: small tiles start early but read all weights again
COLUMN_STEP = 64  # records of any width fill whole words in 64 columns; some do in fewer


def choose_tile(work: LayerWork) -> tuple[Tile, Cost]:
    """Of the tiles and loop orders within CYCLE_SLACK of the fewest cycles those with the fewest bytes.

    Raises CapacityError where not even the smallest fits the buffers.
    """
    tiles = fitting_tiles(work)
    costs = [(each, layer_cost(work, each)) for tile in tiles for each in _loop_orders(work, tile)]
    most_cycles = min(cost.cycles for _, cost in costs) * (1 + CYCLE_SLACK)
    fast = (choice for choice in costs if choice[1].cycles <= most_cycles)
    return min(fast, key=lambda choice: (choice[1].dram_bytes, choice[1].cycles))


def fitting_tiles(work: LayerWork) -> list[Tile]:
    """The tiles that fit the buffers; of many the largest. Raises CapacityError where there are none."""
    tiles = _fitting(work, COLUMN_STEP) or _fitting(work, _finest_step(work))
    if not tiles:
        raise _too_large(work)
    return sorted(tiles, key=lambda tile: tile.height * tile.width)[-MOST_TILES:] if len(tiles) > MOST_TILES else tiles


def _loop_orders(work: LayerWork, tile: Tile) -> Iterator[Tile]:
    """With one part of the output channels, and with as few as let the weights of each stay on chip."""
    yield tile
    kept = work.kept_channel_tiles
    if work.parameters.dense and kept > 0 and work.spatial_tiles(tile) > 1 and not work.keeps_weights(tile):
        yield replace(tile, channel_parts=-(-len(work.channel_tiles) // kept))


def _fitting(work: LayerWork, step: int) -> list[Tile]:
    """Those whose columns are in steps of `step`."""
    return [tile for tile in _candidates(work, step) if buffers_used(work, tile).fit(work.architecture)]


def _finest_step(work: LayerWork) -> int:
    """The fewest columns whose records fill whole words, in every channel group of the output."""
    groups = (0, work.output.groups - 1)
    return WORD_BITS // math.gcd(WORD_BITS, *(work.output.record_bits(group) for group in groups))


def _candidates(work: LayerWork, step: int) -> Iterator[Tile]:
    """Heights that split the map evenly; the whole width or columns that keep the stores on words."""
    height, width = work.vertical.output_size, work.horizontal.output_size
    heights = sorted({-(-height // count) for count in range(1, height + 1)})
    for columns in (*range(step, width, step), width):
        for rows in heights:
            yield Tile(rows, columns)


def _too_large(work: LayerWork) -> CapacityError:
    smallest = buffers_used(work, min(_candidates(work, _finest_step(work)), key=lambda tile: tile.height * tile.width))
    limits = (
        ("feature_depth", "vectors of input", smallest.feature_vectors, work.architecture.feature_depth),
        (
            "accumulator_positions",
            "accumulators",
            smallest.accumulator_positions,
            work.architecture.accumulator_positions,
        ),
    )
    setting, what, needed, available = next(limit for limit in limits if limit[2] > limit[3])
    return CapacityError(
        f"the smallest tile of {work.name} needs {needed} {what}, the accelerator holds {available}",
        where=f"architecture.{setting}",
        fix=f"set architecture.{setting} to at least {needed}",
    )
