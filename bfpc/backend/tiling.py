"""The choice of a layer's tile: of the fastest that fit the buffers the one with the least memory traffic."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bfpc.backend.architecture import Architecture
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.cost_model import Cost, LayerWork, Tile, layer_cost
from bfpc.errors import CapacityError

CYCLE_SLACK = 0.02  # buys a quarter less traffic on ResNet-50: small tiles start early but read all weights again
COLUMN_STEP = 64  # records of any width fill whole words in 64 columns; some do in fewer


def choose_tile(work: LayerWork) -> tuple[Tile, Cost]:
    """Of the tiles within CYCLE_SLACK of the fewest cycles the one with the fewest bytes.

    Raises CapacityError where not even the smallest fits the buffers.
    """
    costs, fitting = _costs(work, COLUMN_STEP)
    if not fitting:
        costs, fitting = _costs(work, _finest_step(work))
    if not fitting:
        raise _too_large(work, min((cost for _, cost in costs), key=_space))
    most_cycles = min(cost.cycles for _, cost in fitting) * (1 + CYCLE_SLACK)
    fast = (choice for choice in fitting if choice[1].cycles <= most_cycles)
    return min(fast, key=lambda choice: (choice[1].dram_bytes, choice[1].cycles))


Costs = list[tuple[Tile, Cost]]


def _costs(work: LayerWork, step: int) -> tuple[Costs, Costs]:
    """The costs of the tiles whose columns are in steps of `step`, and of those among them that fit."""
    costs = [(tile, layer_cost(work, tile)) for tile in _candidates(work, step)]
    return costs, [(tile, cost) for tile, cost in costs if _fits(cost, work.architecture)]


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


def _fits(cost: Cost, architecture: Architecture) -> bool:
    return (
        cost.feature_vectors <= architecture.feature_depth
        and cost.accumulator_positions <= architecture.accumulator_positions
    )


def _space(cost: Cost) -> tuple[int, int]:
    return cost.feature_vectors, cost.accumulator_positions


def _too_large(work: LayerWork, smallest: Cost) -> CapacityError:
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
