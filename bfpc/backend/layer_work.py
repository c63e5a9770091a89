"""A layer in the terms of the accelerator: what cost model, simulator and tiling know of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from bfpc.backend.architecture import BEAT_BITS, LINE_POSITIONS, MIN_STEP_CYCLES, Architecture
from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.backend.feature_memory import FeatureLayout
from bfpc.backend.geometry import Axis, Span
from bfpc.backend.weight_image import TABLE_WORDS
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.ir.operators import Pair, Window
from bfpc.numerics.digits import digits_of


@dataclass(frozen=True)
class Tile:
    """Output rows and columns of a spatial tile, and how many parts of the output channels it passes for.

    All spatial tiles pass for one part, then for the next: its weights can stay on chip meanwhile, but features are
    read again for each.
    """

    height: int
    width: int
    channel_parts: int = 1


@dataclass(frozen=True)
class BuffersUsed:
    """What a tile fills: vectors of features, positions whose sums wait, and those of a line that windows move along.

    Sums wait in accumulators for the array's next steps, or in the tail, in a buffer as large, for pooling windows.
    """

    feature_vectors: int
    accumulator_positions: int
    line_positions: int

    def fit(self, architecture: Architecture) -> bool:
        return (
            self.feature_vectors <= architecture.feature_depth
            and self.accumulator_positions <= architecture.accumulator_positions
            and self.line_positions <= LINE_POSITIONS
        )


@dataclass(frozen=True)
class LayerWork:
    """A layer, its maps and its parameters on an accelerator.

    pool: the tail's pooling window, if any. table: whether its activation reads one. windows: whether all taps of a
    depthwise filter multiply in one cycle. on_chip: which of `input`, `residual` and `output` lie on chip. behind: the
    depthwise layer that the map streams to, if any, which runs at the same time; `output` and `table` are its then.
    """

    name: str
    vertical: Axis
    horizontal: Axis
    input: FeatureLayout
    output: FeatureLayout
    residual: FeatureLayout | None
    parameters: ParameterLayout
    pool: Window | None
    table: bool
    kernel: Pair
    windows: bool
    on_chip: frozenset[str]
    architecture: Architecture
    behind: LayerWork | None = None

    @property
    def vectors(self) -> int:
        """Vectors of c_vec input channels that a tile holds."""
        return -(-self.input.shape[0] // self.architecture.c_vec)

    @property
    def steps(self) -> int:
        """Vectors times taps: for each the array goes over a tile's positions once, or once per pass of its digits."""
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
    def digits_side_by_side(self) -> bool:
        """Whether both digits of the input multiply in the same cycle, as channels fill no more than half of the lanes:
        the upper half, of whole channel groups, takes the second digit."""
        architecture = self.architecture
        half_suffices = architecture.vector_groups > 1 and 2 * self.input.shape[0] <= architecture.c_vec
        return half_suffices and self.activation_digits == 2

    @property
    def digit_pairs(self) -> int:
        """Each digit of the input meets each of a weight."""
        return self.activation_digits * self.weight_digits

    @property
    def passes(self) -> int:
        """How often the array goes over a tile for a step: once for each pair of digits that has its own cycle."""
        return self.weight_digits if self.digits_side_by_side else self.digit_pairs

    @property
    def keeps_sums(self) -> bool:
        """Whether sums wait in the array: for a next step, or where the map is dilated, to leave in their order."""
        return not self.windows and (self.dilated or self.steps * self.passes > 1)

    @property
    def table_bytes(self) -> int:
        return WORD_BYTES * TABLE_WORDS if self.table else 0

    def residual_region(self, row: Span, column: Span) -> tuple[range, range]:
        """Rows and columns of the residual that a tile needs: the array's, or the one position that there is."""
        if self.residual is not None and self.residual.shape[1:] == (1, 1):
            return range(1), range(1)
        return row.array, column.array

    @property
    def macs(self) -> int:
        """Multiplications of one image, positions of zero padding included, those of a layer behind not.

        Output channels times input channels of the weights, times the positions that each tap meets: all of them, or
        where the map is dilated those at which it sees none of the zeros in between.
        """
        shape = self.parameters.weight_shape
        if shape is None:
            return 0
        rows, columns = (axis.met(range(axis.array_size)) for axis in (self.vertical, self.horizontal))
        return shape[0] * shape[1] * _total(rows) * _total(columns)

    @property
    def products(self) -> int:
        """Multiplications: of wide mantissas one for each pair of digits."""
        return self.macs * self.digit_pairs

    @property
    def all_products(self) -> int:
        """With those of a layer behind."""
        return sum(layer.products for layer in self.stream_layers)

    @property
    def stream_layers(self) -> tuple[LayerWork, ...]:
        """The layers that share the weight stream, in its order."""
        return (self,) if self.behind is None else (self.behind, self)

    @property
    def channel_bits(self) -> int:
        """Bits of one output channel in the weight stream."""
        return sum(layer.parameters.channel_bits for layer in self.stream_layers)

    @property
    def dilated(self) -> bool:
        """Whether zeros stand between the positions of the map."""
        return (self.vertical.input_dilation, self.horizontal.input_dilation) != (1, 1)

    @cached_property
    def channel_tiles(self) -> tuple[range, ...]:
        return self.parameters.tiles

    def parts(self, tile: Tile) -> tuple[range, ...]:
        """The channel tiles of each part, by their indices."""
        tiles = len(self.channel_tiles)
        size = -(-tiles // tile.channel_parts)
        return tuple(range(first, min(first + size, tiles)) for first in range(0, tiles, size))

    def part_channels(self, part: range) -> int:
        """The output channels of so many channel tiles."""
        return self.channel_tiles[part[-1]].stop - self.channel_tiles[part[0]].start

    def spatial_tiles(self, tile: Tile) -> int:
        """Of one part."""
        return -(-self.vertical.output_size // tile.height) * -(-self.horizontal.output_size // tile.width)

    @property
    def kept_channel_tiles(self) -> int:
        """Channel tiles whose weights find room on chip; their stream may begin and end within a beat."""
        parameters = self.parameters
        bits = min(parameters.k_vec, parameters.channels) * self.channel_bits
        return (self.architecture.weight_beats - 1) * BEAT_BITS // bits if bits else 0

    def keeps_weights(self, tile: Tile) -> bool:
        """Whether a part's weights stay on chip from its first spatial tile to its last."""
        return self.spatial_tiles(tile) > 1 and len(self.parts(tile)[0]) <= self.kept_channel_tiles

    def cycles_of(self, size: float) -> int:
        """Cycles in which memory moves `size` bytes."""
        return math.ceil(size / self.architecture.dram_bytes_per_cycle)


def buffers_used(work: LayerWork, tile: Tile) -> BuffersUsed:
    """What the largest of a layer's tiles fills."""
    spans = work.vertical.spans(tile.height), work.horizontal.spans(tile.width)
    rows, columns = (max(len(span.region) for span in along) for along in spans)
    array_rows = max(len(span.array) for span in spans[0])
    waiting = max(_waiting_positions(work, array_rows, column) for column in spans[1])
    line = columns if work.windows else max(len(span.array) for span in spans[1]) if work.behind is not None else 0
    return BuffersUsed(work.vectors * rows * columns, waiting, line)


def _waiting_positions(work: LayerWork, rows: int, column: Span) -> int:
    """Of a tile of so many rows of the array those whose sums wait, for a step or for their windows.

    Windows that are pooled in order have a sum each, of a row of them.
    """
    outputs = len(column.output)
    if not work.keeps_sums:
        if work.pool is None:
            return 0
        if pools_in_order(work.pool, outputs):
            return outputs
    return rows * len(column.array)


def streamed(work: LayerWork, behind: LayerWork) -> LayerWork:
    """A dense layer whose map streams to the depthwise layer or pass behind it."""
    pools = behind.pool is not None
    vertical = work.vertical.before(behind.vertical, pools=pools)
    horizontal = work.horizontal.before(behind.horizontal, pools=pools)
    return replace(
        work,
        vertical=vertical,
        horizontal=horizontal,
        output=behind.output,
        pool=behind.pool,
        table=behind.table,
        on_chip=work.on_chip & {"input"} | behind.on_chip & {"output"},
        behind=behind,
    )


def pools_in_order(pool: Window, columns: int) -> bool:
    """Whether windows are pooled as positions arrive: each is of one, and a row of them is long enough."""
    apart = pool.stride == pool.kernel and not any(pool.pads)
    return apart and (columns == 1 or columns * pool.kernel[1] >= MIN_STEP_CYCLES)


def _total(met: Counter[int]) -> int:
    """Positions that all taps of an axis meet together."""
    return sum(positions * taps for positions, taps in met.items())
