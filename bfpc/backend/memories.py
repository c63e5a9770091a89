"""The on-chip memories of the accelerator: what the C++ declares, as a table.

A test reads the declarations of the rendered C++ and holds this table equal to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bfpc.backend.architecture import (
    AHEAD_WEIGHT_BEATS,
    BEAT_BITS,
    BEAT_WORDS,
    CHUNK_POSITIONS,
    LINE_POSITIONS,
    OUTPUT_FIFO_DEPTH,
    STEP_FIFO_DEPTH,
    WEIGHT_FIFO_DEPTH,
    Architecture,
)
from bfpc.backend.bit_packing import WORD_BITS
from bfpc.backend.weight_image import TABLE_WORDS
from bfpc.numerics.format import MAX_EXPONENT_RANGE

Kind = Literal["fifo", "buffer", "port", "beside"]
Module = Literal["buffers", "loaders", "tail", "DMA", "on-chip memory"]

EXPONENT_BITS = MAX_EXPONENT_RANGE.bit_length()
INTEGER_BITS = 32  # of int32_t
TAIL_BITS = 64  # of tail_t
PLAN_DEPTH = 16
DRAM_PORTS = ("features", "residuals", "outputs", "weights", "program")
ON_CHIP_PORTS = ("on_chip_features", "on_chip_residuals", "on_chip_outputs")
PORT_DEPTH = 256  # beats under way on a memory port: 128 requests of 2


@dataclass(frozen=True)
class Memory:
    """`copies` memories of `depth` words of `bits`, which a function of the C++ declares under a name.

    kind `beside`: beside the accelerator, at ports of it. doubled: DATAFLOW gives each of the two processes that share
    it one of its own.
    """

    module: Module
    function: str
    name: str
    kind: Kind
    depth: int
    bits: int
    copies: int = 1
    doubled: bool = False

    @property
    def instances(self) -> int:
        return self.copies * (2 if self.doubled else 1)


def on_chip_memories(architecture: Architecture) -> tuple[Memory, ...]:
    """All arrays and FIFOs of the accelerator, and what its memory ports hold."""
    sizes = Sizes(architecture)
    return (*_buffers(sizes), *_fifos(sizes), *_ports(DRAM_PORTS), *_on_chip(architecture))


@dataclass(frozen=True)
class Sizes:
    """Bits of what is stored, and depths that follow from an architecture; names as in types.hpp."""

    architecture: Architecture

    @property
    def feature_group(self) -> int:
        return self._group(self.architecture.feature_bits)

    @property
    def stored_group(self) -> int:
        return self._group(self.architecture.max_mantissa_bits + 1)

    @property
    def depthwise_tap(self) -> int:
        return self._group(self.architecture.depthwise_weight_bits)

    @property
    def weight_vector(self) -> int:
        lanes = self.architecture.c_vec
        return lanes * self.architecture.dense_weight_bits + lanes // self.architecture.block * EXPONENT_BITS

    @property
    def accumulator_vector(self) -> int:
        return self.architecture.k_vec * self.architecture.accumulator_bits

    @property
    def tail_vector(self) -> int:
        return self.architecture.k_vec * TAIL_BITS

    @property
    def channel_parameters(self) -> int:
        return TAIL_BITS + INTEGER_BITS + EXPONENT_BITS

    @property
    def group_record(self) -> int:
        """The longest record of a channel group in the feature memory."""
        return self._group(self.architecture.max_mantissa_bits)

    @property
    def chunk_fifo_depth(self) -> int:
        return 2 * (-(-CHUNK_POSITIONS * self.group_record // BEAT_BITS) + 1)

    @property
    def window_fifo_depth(self) -> int:
        """The taps of a window, and one."""
        return self.architecture.depthwise_window**2 + 1

    def _group(self, bits: int) -> int:
        """A channel group of mantissas of so many bits, and its exponents."""
        return self.architecture.k_vec * bits + self.architecture.k_vec // self.architecture.block * EXPONENT_BITS


def _buffers(sizes: Sizes) -> Iterator[Memory]:
    architecture = sizes.architecture
    positions, readers = (
        architecture.accumulator_positions,
        architecture.k_vec + 1,
    )  # every lane, and a position's scale
    depth = architecture.feature_depth
    window = architecture.depthwise_window
    yield Memory(
        "buffers",
        "dot_product_array",
        "features",
        "buffer",
        depth,
        sizes.feature_group,
        sizes.architecture.vector_groups,
    )
    yield Memory("buffers", "accumulate_steps", "accumulators", "buffer", positions, sizes.accumulator_vector)
    yield Memory("buffers", "sum_windows", "lines", "buffer", LINE_POSITIONS, sizes.feature_group, window)
    kept = max(architecture.weight_beats, 1)
    yield Memory("loaders", "read_weights", "kept", "buffer", kept, BEAT_BITS)
    yield Memory("loaders", "read_weights", "ahead", "buffer", AHEAD_WEIGHT_BEATS, BEAT_BITS)
    yield Memory("tail", "pool_windows", "positions", "buffer", positions, sizes.tail_vector)
    yield Memory("tail", "bfpc_accelerator", "table", "buffer", TABLE_WORDS, WORD_BITS, readers)


def _fifos(sizes: Sizes) -> Iterator[Memory]:
    architecture = sizes.architecture
    elements, groups, short = architecture.k_vec, sizes.architecture.vector_groups, STEP_FIFO_DEPTH
    burst, stored_beat = 3 * INTEGER_BITS, BEAT_BITS + 3 * INTEGER_BITS + 1
    stored, chunk = sizes.stored_group, sizes.chunk_fifo_depth
    yield Memory("buffers", "run_layer", "features", "fifo", architecture.feature_depth, sizes.feature_group, groups)
    yield Memory("loaders", "run_layer", "weights", "fifo", short, sizes.weight_vector, elements)
    yield Memory("loaders", "run_layer", "taps", "fifo", short, sizes.depthwise_tap)
    yield Memory("loaders", "run_layer", "window_taps", "fifo", sizes.window_fifo_depth, sizes.depthwise_tap)
    for name in ("map_parameters", "parameters"):
        yield Memory("loaders", "run_layer", name, "fifo", short, sizes.channel_parameters, elements)
    yield Memory("buffers", "run_layer", "map", "fifo", short, sizes.feature_group)
    for name in ("array_sums", "map_sums", "window_sums"):
        yield Memory("tail", "run_layer", name, "fifo", short, sizes.accumulator_vector)
    yield Memory("buffers", "run_layer", "residuals", "fifo", architecture.accumulator_positions, stored)
    yield Memory("tail", "run_layer", "outputs", "fifo", OUTPUT_FIFO_DEPTH, stored)
    for streams in (groups, 1):  # of features, of residuals
        yield Memory("loaders", "load_region", "plan", "fifo", PLAN_DEPTH, burst)
        yield Memory("loaders", "load_region", "beats", "fifo", chunk, BEAT_BITS, streams)
    yield Memory("loaders", "stream_weights", "beats", "fifo", WEIGHT_FIFO_DEPTH, BEAT_BITS)
    for name in ("finished", "pooled", "unpooled"):
        yield Memory("tail", "finish_tile", name, "fifo", 2, sizes.tail_vector)
    yield Memory("DMA", "store_region", "beats", "fifo", chunk, stored_beat)


def _ports(names: Iterable[str]) -> Iterator[Memory]:
    """What the adapters of memory ports keep: the beats of the requests under way."""
    for name in names:
        yield Memory("DMA", "bfpc_accelerator", name, "port", PORT_DEPTH, BEAT_BITS)


def _on_chip(architecture: Architecture) -> Iterator[Memory]:
    """The memory on chip and its ports; without one, the ports are left unconnected."""
    if beats := architecture.on_chip_words // BEAT_WORDS:
        yield Memory("on-chip memory", "", "feature memory", "beside", beats, BEAT_BITS)
        yield from _ports(ON_CHIP_PORTS)
