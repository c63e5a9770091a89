"""The schedule, simulated event by event: cycles, what the array waits for, and when each process is at work.

Layers run one after the other. What is simplified: data move in pieces of about PIECE positions, each with its share of
a row's trips; a loop's pipeline has PIPELINE_DEPTH stages whatever it does; DRAM serves requests at its full rate,
whatever their addresses; alike parts of the output channels count as one that was simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

import numpy as np

from bfpc.backend.architecture import BEAT_BYTES, BEAT_WORDS
from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.backend.layer_processes import LayerProcesses
from bfpc.backend.layer_work import LayerWork
from bfpc.backend.program import LayerProgram
from bfpc.backend.trips import PartTrips, TileTrips, part_trips, tile_trips

LEAD, PERIOD, TRAIL = 8, BEAT_WORDS, 2  # rows of alike spatial tiles that are simulated where there are many


@dataclass(frozen=True)
class Interval:
    """A process at work on a spatial tile of a layer, or on several alike, from the first trip to the last."""

    process: str
    layer: str
    start: int
    end: int


@dataclass(frozen=True)
class LayerSimulation:
    """A layer from cycle `start`, in which the one before is over, to its last word in memory.

    busy: cycles by process, as many as `trips` counts. stalls: cycles of the array by cause, such as `features: DRAM`:
    the process that it waits for, and behind the colon what holds that up in the end, if that is another. The array's
    busy cycles and its stalls add up to `cycles`. utilization: the share of the array's multiplications that the layer
    asks for. dram_bytes: moved, whole beats of reads.
    """

    name: str
    start: int
    cycles: int
    busy: dict[str, int]
    stalls: dict[str, int]
    utilization: float
    dram_bytes: int
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Simulation:
    """All layers of a network, one after the other."""

    layers: tuple[LayerSimulation, ...]

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def busy(self) -> dict[str, int]:
        return _sums(layer.busy for layer in self.layers)

    @property
    def stalls(self) -> dict[str, int]:
        return _sums(layer.stalls for layer in self.layers)

    @property
    def utilization(self) -> float:
        return sum(layer.utilization * layer.cycles for layer in self.layers) / self.cycles

    @property
    def dram_bytes(self) -> int:
        return sum(layer.dram_bytes for layer in self.layers)

    @property
    def timeline(self) -> list[Interval]:
        """When which process is at work, by its begin."""
        return [interval for layer in self.layers for interval in layer.intervals]


def _sums(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """The largest first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def simulate(layers: Iterable[tuple[LayerWork, LayerProgram]]) -> Simulation:
    """Simulates a network's layers."""
    simulated: list[LayerSimulation] = []
    for work, program in layers:
        start = simulated[-1].start + simulated[-1].cycles if simulated else 0
        simulated.append(simulate_layer(work, program, start))
    return Simulation(tuple(simulated))


def simulate_layer(work: LayerWork, program: LayerProgram, start: int = 0) -> LayerSimulation:
    """Simulates one layer of a schedule. Of many alike rows of spatial tiles a sample stands for the others."""
    sample = [(tile, times) for row, times in _sample(work, program) for tile in row]
    layer = LayerProcesses(work, program, [tile for tile, _ in sample], is_first=start == 0)
    layer.flow.run(layer.run())
    spans = list(zip(pairwise(layer.flow.marks), (*(times for _, times in sample), 1), strict=True))
    passed = list(accumulate((times * (end.cycle - begin.cycle) for (begin, end), times in spans), initial=start))
    waits = [(times, end.stalls - begin.stalls) for (begin, end), times in spans]
    cycles = passed[-1] - start
    return LayerSimulation(
        name=work.name,
        start=start,
        cycles=cycles,
        busy=_sums({process: times * trips for process, trips in tile.by_process.items()} for tile, times in sample),
        stalls=_sums({cause: times * cycles for cause, cycles in each.items()} for times, each in waits),
        utilization=work.all_products / (cycles * work.architecture.macs_per_cycle),
        dram_bytes=work.table_bytes + sum(times * _dram_bytes(work, tile) for tile, times in sample),
        intervals=_intervals(layer, passed),
    )


def _intervals(layer: LayerProcesses, passed: list[int]) -> tuple[Interval, ...]:
    """What a sampled tile takes is stretched to what the tiles take that it stands for."""
    marks = [mark.cycle for mark in layer.flow.marks]
    intervals = [
        Interval(process.name, layer.work.name, *(int(cycle) for cycle in np.interp(interval, marks, passed)))
        for process in layer.processes
        for interval in process.intervals
    ]
    return tuple(sorted(intervals, key=lambda interval: interval.start))


def _sample(work: LayerWork, program: LayerProgram) -> Iterator[tuple[list[TileTrips], int]]:
    """Rows of spatial tiles, with the number of rows that each stands for.

    Of many parts of the output channels, the second stands for all but the first and the last.
    """
    parts = part_trips(work, program)
    for place, part in enumerate(parts):
        if place < 2 or place == len(parts) - 1:
            times = len(parts) - 2 if place == 1 and len(parts) > 2 else 1
            yield from ((row, times * alike) for row, alike in _sample_part(work, program, part))


def _sample_part(work: LayerWork, program: LayerProgram, part: PartTrips) -> Iterator[tuple[list[TileTrips], int]]:
    """In the middle of a long run of alike rows, PERIOD of them stand for all: after as many, rows begin at the same
    words of a beat again, so that all trips are the same.
    """
    columns = work.horizontal.spans(program.tile_width)
    for _, run in groupby(work.vertical.spans(program.tile_height), work.vertical.kind):
        rows = list(run)
        repeats = max(1, (len(rows) - LEAD - TRAIL) // PERIOD)
        skipped = range(LEAD + PERIOD, LEAD + PERIOD * repeats)
        for place, row in enumerate(rows):
            if place not in skipped:
                times = repeats if LEAD <= place < LEAD + PERIOD else 1
                yield [tile_trips(work, program, part, row, column) for column in columns], times


def _dram_bytes(work: LayerWork, tile: TileTrips) -> int:
    """What a spatial tile moves."""
    regions = {"input": tile.features, "residual": tile.residual}
    read = sum(int(region.beats.sum()) for role, region in regions.items() if region and role not in work.on_chip)
    written = 0 if "output" in work.on_chip else int(tile.store.words.sum())
    weights = tile.weight_beats if tile.reads_weights else 0
    return BEAT_BYTES * (read + weights) + WORD_BYTES * written
