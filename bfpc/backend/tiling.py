"""The choice of a layer's tile: of the fastest that fit the buffers the one with the least memory traffic."""

from __future__ import annotations

from collections.abc import Iterator

from bfpc.backend.architecture import Architecture
from bfpc.backend.cost_model import Cost, LayerWork, Tile, layer_cost
from bfpc.errors import CapacityError

CYCLE_SLACK = 0.02  # buys a quarter less traffic on ResNet-50: small tiles start early but read all weights again
COLUMN_STEP = 64  # records of any width fill whole words in 64 columns


def choose_tile(work: LayerWork) -> tuple[Tile, Cost]:
    """Of the tiles within CYCLE_SLACK of the fewest cycles the one with the fewest bytes.

    Raises CapacityError where not even the smallest fits the buffers.
    """
    costs = [(tile, layer_cost(work, tile)) for tile in _candidates(work)]
    fitting = [(tile, cost) for tile, cost in costs if _fits(cost, work.architecture)]
    if not fitting:
        raise _too_large(work, min((cost for _, cost in costs), key=_space))
    most_cycles = min(cost.cycles for _, cost in fitting) * (1 + CYCLE_SLACK)
    fast = (choice for choice in fitting if choice[1].cycles <= most_cycles)
    return min(fast, key=lambda choice: (choice[1].dram_bytes, choice[1].cycles))


def _candidates(work: LayerWork) -> Iterator[Tile]:
    """Heights that split the map evenly; the whole width or columns that keep the stores on words."""
    height, width = work.vertical.output_size, work.horizontal.output_size
    heights = sorted({-(-height // count) for count in range(1, height + 1)})
    for columns in (*range(COLUMN_STEP, width, COLUMN_STEP), width):
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
