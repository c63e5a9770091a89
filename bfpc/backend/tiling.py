"""The choice of a layer's tile: of the fastest that fit the buffers the one with the least memory traffic."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.cost_model import Cost, layer_cost
from bfpc.backend.layer_work import LayerWork, Tile, buffers_used
from bfpc.errors import CapacityError

CYCLE_SLACK = 0.02  # buys a quarter less traffic on ResNet-50: small tiles start early but read all weights again
COLUMN_STEP = 64  # records of any width fill whole words in 64 columns; some do in fewer


def choose_tile(work: LayerWork) -> tuple[Tile, Cost]:
    """Of the tiles within CYCLE_SLACK of the fewest cycles the one with the fewest bytes.

    Raises CapacityError where not even the smallest fits the buffers.
    """
    tiles = _fitting(work, COLUMN_STEP) or _fitting(work, _finest_step(work))
    if not tiles:
        raise _too_large(work)
    costs = [(tile, layer_cost(work, tile)) for tile in tiles]
    most_cycles = min(cost.cycles for _, cost in costs) * (1 + CYCLE_SLACK)
    fast = (choice for choice in costs if choice[1].cycles <= most_cycles)
    return min(fast, key=lambda choice: (choice[1].dram_bytes, choice[1].cycles))


def _fitting(work: LayerWork, step: int) -> list[Tile]:
    """The tiles that fit the buffers, their columns in steps of `step`."""
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
