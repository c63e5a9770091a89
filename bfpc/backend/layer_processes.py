"""The processes of a layer in simulated time, as the generated hardware has them.

Each goes from spatial tile to spatial tile by itself, and makes the trips that `trips` counts, a cycle each. They are
joined by FIFOs as deep as the hardware's. DRAM is one server for all ports; the memory on chip has a port for reads
and one for writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simpy.events import Event

from bfpc.backend.architecture import (
    AHEAD_WEIGHT_BEATS,
    BEAT_BYTES,
    OUTPUT_FIFO_DEPTH,
    STEP_FIFO_DEPTH,
    WEIGHT_FIFO_DEPTH,
)
from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.backend.cost_model import MEMORY_LATENCY, ON_CHIP_LATENCY, PIPELINE_DEPTH
from bfpc.backend.dataflow import NOW, Dataflow, Events, Fifo, Memory, Process, Ready, make
from bfpc.backend.layer_work import LayerWork
from bfpc.backend.map_trips import PIECE, RegionTrips
from bfpc.backend.memories import PORT_DEPTH, Sizes
from bfpc.backend.program import AHEAD_BEATS, LayerProgram
from bfpc.backend.trips import TileTrips
from bfpc.backend.weight_image import TABLE_WORDS

WEIGHT_BURST = 32  # beats of the weight stream that are requested at a time


class LayerProcesses:
    """The processes of a layer, and the dataflow that they run in, in which the array is watched."""

    def __init__(self, work: LayerWork, program: LayerProgram, tiles: list[TileTrips], *, is_first: bool) -> None:
        self.is_first = is_first
        self.work, self.program, self.tiles = work, program, tiles
        self.processes: list[Process] = []
        self.array = self._process("array")
        slides = tiles[0].windows is not None
        self.windows = self._process("windows") if slides else self.array
        self.tail, self.store, self.writes = map(self._process, ("tail", "store", "writes"))
        self.flow = Dataflow(self.array)
        self.dram = Memory("DRAM", work.architecture.dram_bytes_per_cycle, MEMORY_LATENCY)
        self.on_chip_reads, self.on_chip_writes = (
            Memory("on-chip memory", BEAT_BYTES, ON_CHIP_LATENCY) for _ in range(2)
        )

    def _process(self, name: str) -> Process:
        self.processes.append(Process(name))
        return self.processes[-1]

    def run(self) -> Events:
        """First a table, then all processes at the same time, until the last word is stored.

        The program records are read while the layer before runs; the first layer waits for them.
        """
        flow = self.flow
        if self.is_first:
            yield from flow.wait_until(self.array, MEMORY_LATENCY + AHEAD_BEATS + PIPELINE_DEPTH, "program")
        if self.work.table:
            self.dram.serve(flow.now, self.work.table_bytes)
            ready = flow.now + MEMORY_LATENCY + TABLE_WORDS + PIPELINE_DEPTH
            yield from flow.wait_until(self.array, ready, "table")
        features = [tile.features for tile in self.tiles]
        residual = [tile.residual for tile in self.tiles if tile.residual is not None]
        vectors = self._load("feature", "input", features, self.array)
        residuals = self._load("residual", "residual", residual, self.tail)
        weights = self._load_weights()
        slides = self.windows is not self.array
        sums = Fifo(flow, (self.windows, self.tail), STEP_FIFO_DEPTH + PIECE, PIPELINE_DEPTH)
        made = Fifo(flow, (self.array, self.windows), STEP_FIFO_DEPTH + PIECE, PIPELINE_DEPTH) if slides else sums
        tail_loops = 2 if self.work.pool is None else 3
        outputs = Fifo(flow, (self.tail, self.store), OUTPUT_FIFO_DEPTH, tail_loops * PIPELINE_DEPTH)
        beats = Fifo(flow, (self.store, self.writes), Sizes(self.work.architecture).chunk_fifo_depth, PIPELINE_DEPTH)
        for events in (
            _run_array(flow, self.array, self.tiles, vectors, weights.steps, made),
            _run_tail(flow, self.tail, self.tiles, sums, weights.parameters, residuals, outputs, self.program),
            _pack_outputs(flow, self.store, self.tiles, outputs, beats),
        ):
            self._start(events)
        if slides:
            self._start(_run_windows(flow, self.windows, self.tiles, made, weights.taps, sums))
        memory = self.on_chip_writes if "output" in self.work.on_chip else self.dram
        yield self._start(_write_beats(flow, self.writes, self.tiles, beats, memory))

    def _start(self, events: Events) -> Event:
        return self.flow.environment.process(events)

    def _load(self, name: str, role: str, regions: list[RegionTrips], consumer: Process) -> Fifo:
        """The two processes that read and unpack a map, and the FIFO of what they make."""
        flow, memory = self.flow, self.on_chip_reads if role in self.work.on_chip else self.dram
        architecture = self.work.architecture
        streams, capacity = (
            (architecture.vector_groups, architecture.feature_depth)
            if role == "input"
            else (1, architecture.accumulator_positions)
        )
        reads, unpacks = self._process(f"{name} reads"), self._process(f"{name}s")
        depth = streams * Sizes(architecture).chunk_fifo_depth + PORT_DEPTH
        beats = Fifo(flow, (reads, unpacks), depth, late=memory.name)
        records = Fifo(flow, (unpacks, consumer), capacity, PIPELINE_DEPTH)
        self._start(_read_region(flow, reads, regions, memory, beats))
        self._start(_unpack_region(flow, unpacks, regions, beats, records))
        return records

    def _load_weights(self) -> _WeightFifos:
        """The two processes of the weights, and the FIFOs of what they make."""
        flow, reads, unpacks = self.flow, self._process("weight reads"), self._process("weights")
        beats = Fifo(flow, (reads, unpacks), WEIGHT_FIFO_DEPTH + PORT_DEPTH, late=self.dram.name)
        records = max(int(part.steps.max(initial=1)) for part in self.tiles[0].weights)
        window = Sizes(self.work.architecture).window_fifo_depth
        made = _WeightFifos(
            steps=Fifo(flow, (unpacks, self.array), STEP_FIFO_DEPTH * records, PIPELINE_DEPTH),
            taps=Fifo(flow, (unpacks, self.windows), window, PIPELINE_DEPTH),
            parameters=Fifo(flow, (unpacks, self.tail), STEP_FIFO_DEPTH, PIPELINE_DEPTH),
        )
        ahead = 0 if self.is_first else AHEAD_WEIGHT_BEATS
        self._start(_read_weights(flow, reads, self.tiles, self.dram, beats, ahead))
        self._start(_unpack_weights(flow, unpacks, self.tiles, beats, made))
        return made


@dataclass(frozen=True)
class _WeightFifos:
    """What is unpacked of weights: for the array, for windows, and for the tail.

    The parameters of a map that streams come with the tail's, before the taps, and are taken sooner: nothing waits for
    theirs alone.
    """

    steps: Fifo
    taps: Fifo
    parameters: Fifo


def _read_region(
    flow: Dataflow, process: Process, regions: Iterable[RegionTrips], memory: Memory, beats: Fifo
) -> Events:
    for region in regions:
        for read, count, _, _ in region.pieces:
            if count:
                yield from beats.room(count)
                beats.put(count, memory.serve(flow.now, BEAT_BYTES * count) + memory.latency)
            yield flow.work(process, read)
        yield from flow.end_tile(process, PIPELINE_DEPTH)


def _unpack_region(
    flow: Dataflow, process: Process, regions: Iterable[RegionTrips], beats: Fifo, records: Fifo
) -> Events:
    for region in regions:
        for _, count, trips, positions in region.pieces:
            ready = yield from beats.take(count)
            yield from make(flow, process, trips, ready, beats.late, records, positions)
        yield from flow.end_tile(process, PIPELINE_DEPTH)


def _read_weights(
    flow: Dataflow, process: Process, tiles: Iterable[TileTrips], memory: Memory, beats: Fifo, ahead: int
) -> Events:
    """The first `ahead` beats are there already; in the end those of the next layer are read."""
    for tile in tiles:
        for first in range(0, tile.weight_beats, WEIGHT_BURST):
            count = min(WEIGHT_BURST, tile.weight_beats - first)
            yield from beats.room(count)
            on_chip = not tile.reads_weights or (tile.begins and first < ahead)
            served = flow.now if on_chip else memory.serve(flow.now, BEAT_BYTES * count) + memory.latency
            beats.put(count, served)
            yield flow.work(process, count)
        if tile.ahead_beats:
            memory.serve(flow.now, BEAT_BYTES * tile.ahead_beats)
            yield flow.work(process, tile.ahead_beats)
        yield from flow.end_tile(process, PIPELINE_DEPTH)


def _unpack_weights(
    flow: Dataflow, process: Process, tiles: Iterable[TileTrips], beats: Fifo, made: _WeightFifos
) -> Events:
    """Channel tile after channel tile its parameters, then the taps of windows, then the array's steps.

    Parameters that come with the first step are there at its end.
    """
    for tile in tiles:
        for part in tile.weights:
            ready = yield from beats.take(int(part.beats[0]))
            if part.parameters:
                yield from make(flow, process, part.parameters, ready, beats.late, made.parameters, 1)
            for trips, count in part.tap_pieces:
                ready = yield from beats.take(count)
                yield from make(flow, process, trips, ready, beats.late, made.taps, trips)
            for step, (trips, count) in enumerate(part.step_pieces):
                ready = yield from beats.take(count)
                if step == 0 and not part.parameters:
                    yield from made.parameters.room(1)
                    made.parameters.put(1, max(flow.now, ready.last) + trips)
                yield from make(flow, process, trips, ready, beats.late, made.steps, trips)
        yield from flow.end_tile(process, PIPELINE_DEPTH)


@dataclass
class _Array:
    """missing: vectors that the array has not taken yet. In a tile's first cycles it takes one in each."""

    flow: Dataflow
    process: Process
    vectors: Fifo
    sums: Fifo
    missing: int = 0

    def advance(self, cycles: int, positions: int = 0) -> Events:
        """So many cycles, in which the sums of `positions` leave."""
        while self.missing and cycles > PIECE and not positions:
            yield from self.advance(PIECE)
            cycles -= PIECE
        taken = min(cycles, self.missing)
        self.missing -= taken
        first, last = yield from self.vectors.take(taken)
        ready = Ready(first, last + cycles - taken if taken else 0)
        yield from make(self.flow, self.process, cycles, ready, self.vectors.late, self.sums, positions)


def _run_array(
    flow: Dataflow, process: Process, tiles: Iterable[TileTrips], vectors: Fifo, steps: Fifo, sums: Fifo
) -> Events:
    array = _Array(flow, process, vectors, sums)
    for tile in tiles:
        array.missing = tile.features.vectors
        yield from array.advance(tile.array.fill)
        for part in tile.weights:
            for cycles, records in zip(tile.array.steps.tolist(), part.steps.tolist(), strict=True):
                ready = yield from steps.take(records)
                yield from flow.wait_until(process, ready.last, steps.late)
                yield from array.advance(cycles)
            for cycles, positions in tile.array.sweep:
                yield from array.advance(cycles, positions)
        yield from flow.end_tile(process, PIPELINE_DEPTH)
        flow.mark()
    flow.finish(process, Process("end", waits_for=sums.consumer))


def _run_windows(
    flow: Dataflow, process: Process, tiles: Iterable[TileTrips], made: Fifo, arriving: Fifo, sums: Fifo
) -> Events:
    """Positions of a map enter, row after row; where it streams they are the array's sums, quantized first.

    The last windows of a channel tile are complete while the next one enters, or in the end.
    """
    for tile in tiles:
        windows = tile.windows
        assert windows is not None
        for number in range(len(tile.weights)):
            taps = windows.taps
            for trips, entering, complete in windows.next_pieces if number else windows.first_pieces:
                ready = yield from made.take(entering)
                other = yield from arriving.take(min(taps, trips))
                taps -= min(taps, trips)
                late = made.late if ready.last >= other.last else arriving.late
                both = Ready(max(ready.first, other.first), max(ready.last, other.last))
                yield from make(flow, process, trips, both, late, sums, complete)
        for trips, _, complete in windows.last_pieces:
            yield from make(flow, process, trips, NOW, process, sums, complete)
        yield from flow.end_tile(process, PIPELINE_DEPTH)
    flow.finish(process, sums.consumer)


def _run_tail(
    flow: Dataflow,
    process: Process,
    tiles: Iterable[TileTrips],
    sums: Fifo,
    parameters: Fifo,
    residuals: Fifo,
    outputs: Fifo,
    program: LayerProgram,
) -> Events:
    """Where pooling windows overlap, a channel tile's positions are collected before its windows."""
    for tile in tiles:
        for _ in tile.weights:
            ready = yield from parameters.take(1)
            yield from flow.wait_until(process, ready.last, parameters.late)
            if program.residual_broadcast:
                ready = yield from residuals.take(1)
                yield from flow.wait_until(process, ready.last, residuals.late)
            passed = 0
            for positions in _pieces(tile.sums):
                ready = yield from sums.take(positions)
                other = NOW
                if program.residual and not program.residual_broadcast:
                    other = yield from residuals.take(positions)
                late = sums.late if ready.last >= other.last else residuals.late
                both = Ready(max(ready.first, other.first), max(ready.last, other.last))
                made = _made(tile, passed + positions) - _made(tile, passed)
                passed += positions
                yield from make(flow, process, positions, both, late, outputs, made)
            if tile.window is not None:
                yield from flow.refill(process, PIPELINE_DEPTH)
                for positions in _pieces(tile.outputs):
                    yield from make(flow, process, positions * tile.window, NOW, process, outputs, positions)
                yield from flow.refill(process, PIPELINE_DEPTH)
        yield from flow.end_tile(process, PIPELINE_DEPTH if tile.window is None else 0)
    flow.finish(process, outputs.consumer)


def _made(tile: TileTrips, positions: int) -> int:
    """Outputs of a channel tile's first positions as they pass: none where windows are pooled later."""
    return positions * tile.outputs // tile.sums if tile.window is None else 0


def _pack_outputs(flow: Dataflow, process: Process, tiles: Iterable[TileTrips], outputs: Fifo, beats: Fifo) -> Events:
    for tile in tiles:
        for packed, positions, count, _, _ in tile.store.pieces:
            ready = yield from outputs.take(positions)
            yield from make(flow, process, packed, ready, outputs.late, beats, count)
        yield from flow.end_tile(process, PIPELINE_DEPTH)
    flow.finish(process, beats.consumer)


def _write_beats(flow: Dataflow, process: Process, tiles: Iterable[TileTrips], beats: Fifo, memory: Memory) -> Events:
    for tile in tiles:
        for _, _, count, written, words in tile.store.pieces:
            ready = yield from beats.take(count)
            yield from flow.wait_until(process, max(ready.first, ready.last - written), beats.late)
            served = memory.serve(flow.now, WORD_BYTES * words)
            yield flow.work(process, written)
            yield from flow.wait_until(process, served, memory.name)
        yield from flow.end_tile(process, PIPELINE_DEPTH)
    yield from flow.wait_until(process, flow.now + memory.latency, memory.name)


def _pieces(positions: int) -> list[int]:
    return [min(PIECE, positions - first) for first in range(0, positions, PIECE)]
