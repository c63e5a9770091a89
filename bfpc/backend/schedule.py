"""The schedule: how each layer runs, where its data lies, and what it costs, as plain values.

`schedule.json` is this, for people; `program.bin` the same for the accelerator. Utilization is the share of the array's
multiplications that a network asks for: products / (cycles * c_vec * k_vec). A layer's products are its macs, those of
its shapes, or where the array takes mantissas digit by digit, as many for each pair of digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import zip_longest
from typing import Any

from bfpc.backend.architecture import AHEAD_WEIGHT_BEATS, BEAT_BITS, Architecture
from bfpc.backend.bit_packing import WORD_BITS, WORD_BYTES
from bfpc.backend.cost_model import Cost
from bfpc.backend.encoding import encode_run, layer_arithmetic
from bfpc.backend.geometry import layer_axes
from bfpc.backend.layer_work import BuffersUsed, LayerWork, streamed
from bfpc.backend.memory_plan import MemoryPlan, Piece, feature_layout, plan_memory
from bfpc.backend.program import ArrayMode, LayerProgram, Program
from bfpc.backend.simulator import LayerSimulation, Simulation, simulate
from bfpc.backend.tiling import choose_tile
from bfpc.backend.weight_image import LayerImage, WeightImage, place_weights
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import slides_windows
from bfpc.ir.shapes import array_size

LOOPS = {
    ArrayMode.DENSE: ("vector", "filter tap"),
    ArrayMode.DEPTHWISE: ("filter tap",),
    ArrayMode.PASS: (),
}


@dataclass(frozen=True)
class LayerSchedule:
    """One layer. Formats are texts such as `int5bfp/16`; the buffers' fillings are of the largest tile.

    runs_with: the layer before whose map this one takes as it is made, if any: that one's cycles, stalls, traffic and
    buffers are of both, and this one's are 0. activation_format is that of the map that the layer reads, output_format
    of the map that it writes.
    cycles, stalls, utilization and dram_bytes are the simulator's. The estimates and bound, the process that sets the
    pace, or memory, are the cost model's, which chose the tile.
    """

    name: str
    operator: str
    runs_with: str | None
    activation_format: str
    weight_format: str | None
    output_format: str
    loop_order: str
    feature_vectors: int
    accumulator_positions: int
    accumulator_bits: int
    accumulator_proof: str
    macs: int
    products: int
    passes: int
    cycles: int
    estimated_cycles: int
    stalls: dict[str, int]
    bound: str
    utilization: float
    dram_bytes: int
    estimated_dram_bytes: int
    weight_bytes: int
    weight_reads: int
    input_reads: int
    table_bytes: int
    program: LayerProgram


@dataclass(frozen=True)
class Schedule:
    """A network on an accelerator. Addresses and memory sizes are in 64-bit words."""

    network: str
    architecture: Architecture
    layers: tuple[LayerSchedule, ...]
    memory: MemoryPlan
    weights: WeightImage
    simulation: Simulation

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def estimated_cycles(self) -> int:
        return sum(layer.estimated_cycles for layer in self.layers)

    @property
    def dram_bytes(self) -> int:
        return sum(layer.dram_bytes for layer in self.layers)

    @property
    def estimated_dram_bytes(self) -> int:
        return sum(layer.estimated_dram_bytes for layer in self.layers)

    @property
    def utilization(self) -> float:
        return self.simulation.utilization

    @property
    def program(self) -> Program:
        layers = tuple(layer.program for layer in self.layers)
        memory = self.memory
        return Program(layers, memory.words, self.weights.words.size, memory.input_words, memory.input_address)


def make_schedule(graph: Graph, architecture: Architecture, weights: WeightImage) -> Schedule:
    """Tiles and places every layer of a quantized graph. Raises CapacityError where a layer does not fit."""
    memory = plan_memory(graph, architecture.k_vec, architecture.on_chip_words)
    works = _run_works(graph, architecture, weights.layers, memory)
    tiles = [choose_tile(work) for work in works]
    programs = [
        encode_run(graph, run, work, tile, memory, weights.layers)
        for run, work, (tile, _) in zip(graph.runs, works, tiles, strict=True)
    ]
    runs = [*zip(programs, works, strict=True)]
    programs = [_reads_ahead(run[0], then) for run, then in zip_longest(runs, runs[1:])]
    simulation = simulate((work, run[0]) for work, run in zip(works, programs, strict=True))
    scheduled = zip(graph.runs, works, tiles, programs, simulation.layers, strict=True)
    layers = tuple(
        layer
        for run, work, (_, cost), records, simulated in scheduled
        for layer in _schedule_run(run, work, cost, records, simulated)
    )
    return Schedule(graph.name, architecture, layers, memory, weights, simulation)


def layer_works(graph: Graph, architecture: Architecture) -> list[LayerWork]:
    """What runs one after the other, as a schedule would have it. Raises what `pack_weights` does."""
    memory = plan_memory(graph, architecture.k_vec, architecture.on_chip_words)
    return _run_works(graph, architecture, place_weights(graph, architecture), memory)


def _run_works(
    graph: Graph, architecture: Architecture, images: Mapping[str, LayerImage], memory: MemoryPlan
) -> list[LayerWork]:
    works = ([layer_work(graph, node, architecture, images[node.name], memory) for node in run] for run in graph.runs)
    return [reduce(streamed, run) for run in works]


def layer_work(
    graph: Graph, node: Node, architecture: Architecture, image: LayerImage, memory: MemoryPlan | None = None
) -> LayerWork:
    """A layer of a quantized graph in the cost model's terms; without a memory plan all maps lie in DRAM."""
    op, residual = node.layer, node.inputs.get("residual")
    source, output = (feature_layout(graph, name, architecture.k_vec) for name in (node.inputs["x"], node.name))
    sizes = source.shape[1:], array_size(op, source.shape[1:]), output.shape[1:]
    producer = graph.producer(node.inputs["x"])
    windows = (producer is not None and producer.streams) or slides_windows(op, architecture.depthwise_window)
    vertical, horizontal = layer_axes(op, *sizes, clips=windows)
    return LayerWork(
        name=node.name,
        vertical=vertical,
        horizontal=horizontal,
        input=source,
        output=output,
        residual=None if residual is None else feature_layout(graph, residual, architecture.k_vec),
        parameters=image.layout,
        pool=op.tail.pool,
        table=image.table_address is not None,
        kernel=op.kernel,
        windows=windows,
        on_chip=frozenset(
            role
            for role, name in (("input", node.inputs["x"]), ("residual", residual), ("output", node.name))
            if name is not None
            and memory is not None
            and memory.addresses.get(name, architecture.on_chip_words) < architecture.on_chip_words
        ),
        architecture=architecture,
    )


def _reads_ahead(
    programs: tuple[LayerProgram, ...], then: tuple[tuple[LayerProgram, ...], LayerWork] | None
) -> tuple[LayerProgram, ...]:
    """The records of what runs, with the weights that are read ahead for what runs then."""
    if then is None:
        return programs
    (program, *_), next_work = then
    bits = next_work.part_channels(range(program.part_channel_tiles)) * next_work.channel_bits
    begins = WORD_BITS * program.weight_address % BEAT_BITS
    beats = min(AHEAD_WEIGHT_BEATS, -(-(begins + bits) // BEAT_BITS) if bits else 0)
    first = replace(programs[0], ahead_weight_address=program.weight_address, ahead_weight_beats=beats)
    return (first, *programs[1:])


def _schedule_run(
    run: tuple[Node, ...],
    work: LayerWork,
    cost: Cost,
    programs: tuple[LayerProgram, ...],
    simulated: LayerSimulation,
) -> Iterator[LayerSchedule]:
    """The layers that run together: the first counts for both."""
    if work.behind is None:
        yield _schedule_layer(run[0], work, cost, programs[0], simulated)
        return
    first = replace(work, output=work.behind.input, table=False)
    yield _schedule_layer(run[0], first, cost, programs[0], simulated)
    nothing = replace(simulated, cycles=0, stalls={}, utilization=0.0, dram_bytes=0)
    free = replace(cost, cycles=0, dram_bytes=0, buffers=BuffersUsed(0, 0, 0))
    behind = _schedule_layer(run[1], work.behind, free, programs[1], nothing)
    yield replace(behind, runs_with=run[0].name)


def _schedule_layer(
    node: Node, work: LayerWork, cost: Cost, program: LayerProgram, simulated: LayerSimulation
) -> LayerSchedule:
    weight_format = work.parameters.weight_format
    return LayerSchedule(
        name=node.name,
        operator=type(node.op).__name__,
        runs_with=None,
        activation_format=str(work.input.format),
        weight_format=None if weight_format is None else str(weight_format),
        output_format=str(work.output.format),
        loop_order=_loop_order(work, program),
        feature_vectors=cost.buffers.feature_vectors,
        accumulator_positions=cost.buffers.accumulator_positions,
        accumulator_bits=layer_arithmetic(node).accumulator_bits,
        accumulator_proof=_accumulator_proof(node, work),
        macs=work.macs,
        products=work.products,
        passes=work.passes,
        cycles=simulated.cycles,
        estimated_cycles=cost.cycles,
        stalls=simulated.stalls,
        bound=cost.bound,
        utilization=simulated.utilization,
        dram_bytes=simulated.dram_bytes,
        estimated_dram_bytes=cost.dram_bytes,
        weight_bytes=WORD_BYTES * work.parameters.words,
        weight_reads=_weight_reads(work, program),
        input_reads=program.channel_parts,
        table_bytes=work.table_bytes,
        program=program,
    )


def _weight_reads(work: LayerWork, program: LayerProgram) -> int:
    """How often weights come from DRAM for an image."""
    if not work.parameters.words:
        return 0
    return 1 if program.keeps_weights else program.tiles_vertical * program.tiles_horizontal


def _loop_order(work: LayerWork, program: LayerProgram) -> str:
    """The array's loops, the outermost first; of a layer behind another those of its windows."""
    mode = ArrayMode(program.array_mode)
    in_turn = work.passes // work.weight_digits
    digits = {"weight digit": work.weight_digits, "activation digit": in_turn}
    split = (loop for loop, count in digits.items() if count > 1)
    parts = ("channel part",) if program.channel_parts > 1 else ()
    loops = (*parts, "spatial tile", "channel tile", *LOOPS[mode], *split)
    if work.windows:
        return " > ".join((*parts, "spatial tile", "channel tile", "position of the input"))
    if not work.dilated:
        return " > ".join((*loops, "position"))
    return " > ".join((*loops, *(("filter tap",) if mode is ArrayMode.PASS else ()), "position that meets the tap"))


def _accumulator_proof(node: Node, work: LayerWork) -> str:
    """Why the accumulators of a layer cannot overflow, in numbers."""
    arithmetic, shape = layer_arithmetic(node), work.parameters.weight_shape
    bits, bound, largest = arithmetic.accumulator_bits, arithmetic.accumulator_bound, work.input.format.max_aligned
    conclusion = f"{bound} < 2^{bits - 1}"
    if shape is None:
        return f"one activation of at most {conclusion} LSBs"
    signs = "magnitudes" if work.input.format.signed else "those of one sign"
    return (
        f"{math.prod(shape[1:])} products; the weights of an output channel sum to at most {bound // largest} LSBs "
        f"({signs}), activations reach {largest}: {bound // largest} * {largest} <= {conclusion}"
    )


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """`schedule.json` as plain values.

    The feature memory's live words are those of the maps that are needed at the same time, at most: its lower bound.
    """
    return {
        "network": schedule.network,
        "macs": schedule.macs,
        "cycles": schedule.cycles,
        "estimated_cycles": schedule.estimated_cycles,
        "stalls": schedule.simulation.stalls,
        "utilization": schedule.utilization,
        "dram_bytes": schedule.dram_bytes,
        "estimated_dram_bytes": schedule.estimated_dram_bytes,
        "milliseconds": schedule.cycles / (schedule.architecture.clock_mhz * 1e3),
        "architecture": asdict(schedule.architecture),
        "feature_memory_words": schedule.memory.words,
        "feature_memory_live_words": schedule.memory.live_words,
        "weights": {
            "count": schedule.weights.weights,
            "bytes": WORD_BYTES * schedule.weights.words.size,
            "bits_per_weight": schedule.weights.bits_per_weight,
            "ideal_bits_per_weight": schedule.weights.ideal_bits_per_weight,
        },
        "layers": [asdict(layer) for layer in schedule.layers],
        "maps": [_map_document(name, piece) for name, piece in schedule.memory.maps.items()],
    }


def _map_document(name: str, piece: Piece) -> dict[str, Any]:
    return {"name": name, "address": piece.start, "words": piece.stop - piece.start, "life": [piece.first, piece.last]}


def timeline_document(schedule: Schedule) -> dict[str, Any]:
    """`timeline.json` as plain values: when which process is at work, in cycles."""
    return {
        "cycles": schedule.cycles,
        "intervals": [[each.process, each.layer, each.start, each.end] for each in schedule.simulation.timeline],
    }
