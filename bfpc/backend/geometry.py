"""Which accumulator positions and input positions a tile of outputs needs, along one axis of the map."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from bfpc.ir.operators import Layer, PadMode, Pair


@dataclass(frozen=True)
class Span:
    """Positions of a tile: outputs; the array's, before pooling; the inputs that it holds; and those in the map.

    The inputs include the halo. Beyond the map they are zeros to be held, unless the layer finds edges or reflections
    there, which are in the map, or sees zeros without holding any.
    """

    output: range
    array: range
    region: range
    inside: range


@dataclass(frozen=True)
class Axis:
    """A layer along one axis: sizes of its maps, then filter and pooling window. Without pooling the window is 1.

    Where the map streams to a layer behind, that one's filter or pooling window takes the place of pooling. clips:
    whether inputs are in the map only, as depthwise windows see zeros beyond it without holding any.
    """

    input_size: int
    array_size: int
    output_size: int
    kernel: int
    stride: int
    dilation: int
    pad: int
    pool_kernel: int
    pool_stride: int
    pool_pad: int
    input_dilation: int = 1
    pad_mode: PadMode = "zero"
    clips: bool = False

    def before(self, behind: Axis, *, pools: bool) -> Axis:
        """The axis of a layer whose map streams to the one behind, which has a pooling window or a filter."""
        kernel, stride, pad = (
            (behind.pool_kernel, behind.pool_stride, behind.pool_pad)
            if pools
            else (behind.kernel, behind.stride, behind.pad)
        )
        return replace(self, output_size=behind.output_size, pool_kernel=kernel, pool_stride=stride, pool_pad=pad)

    def spans(self, tile: int) -> list[Span]:
        """The tiles of `tile` outputs, first to last; the last may be smaller."""
        starts = range(0, self.output_size, tile)
        return [self.span(range(start, min(start + tile, self.output_size))) for start in starts]

    def span(self, output: range) -> Span:
        first = max(0, self.window_start(output))
        last = min(self.array_size, (output.stop - 1) * self.pool_stride - self.pool_pad + self.pool_kernel)
        array = range(first, last)
        region = self._region(array)
        inside = range(max(0, region.start), max(0, region.start, min(self.input_size, region.stop)))
        return Span(output, array, region, inside)

    def _region(self, array: range) -> range:
        """The inputs that the taps of array positions see, those beyond the map mapped back into it."""
        place = self.place(array)
        last_place = (array.stop - 1) * self.stride - self.pad + (self.kernel - 1) * self.dilation
        first, last = -(-place // self.input_dilation), last_place // self.input_dilation
        if self.clips:
            return range(max(0, first), min(self.input_size, last + 1))
        if self.pad_mode == "zero":
            return range(first, last + 1)
        end = self.input_size - 1
        ends = self.find(first), self.find(last)
        return range(0 if first <= 0 <= last else min(ends), (end if first <= end <= last else max(ends)) + 1)

    def taps(self, array: range) -> list[tuple[int, int]]:
        """For each tap the input at the first of these array positions that it meets, and how many it meets.

        Where the map is dilated a tap meets only those at which it sees no zero between the map's positions.
        """
        places = [self.place(array) + tap * self.dilation for tap in range(self.kernel)]
        firsts = [-place % self.input_dilation for place in places]  # stride and dilation are 1 if this is not 0
        return [
            ((place + first) // self.input_dilation, len(range(first, len(array), self.input_dilation)))
            for place, first in zip(places, firsts, strict=True)
        ]

    def met(self, array: range) -> Counter[int]:
        """How many of these array positions a tap meets, with the number of taps that meet so many."""
        return Counter(count for _, count in self.taps(array))

    def kind(self, span: Span) -> tuple[int, ...]:
        """Equal for spans in which the array does the same work."""
        phase = span.array.start % self.input_dilation
        beyond = self.window_start(span.output) - span.array.start, self.place(span.array) - span.region.start
        return len(span.output), len(span.array), len(span.region), len(span.inside), phase, *beyond

    def window_start(self, output: range) -> int:
        """The array position at which the first of these outputs' windows begins; it may lie beyond the map."""
        return output.start * self.pool_stride - self.pool_pad

    def place(self, array: range) -> int:
        """What the first tap sees at the first of these array positions: a place in the dilated map, or beyond it."""
        return array.start * self.stride - self.pad

    def find(self, position: int) -> int:
        """Where the array finds an input position: beyond the map at the nearest, or the mirrored one, or as it is."""
        end = self.input_size - 1
        if self.pad_mode == "edge":
            return min(max(position, 0), end)
        return end - abs(end - abs(position)) if self.pad_mode == "reflect" else position


def layer_axes(op: Layer, input_size: Pair, array_size: Pair, output_size: Pair, *, clips: bool) -> tuple[Axis, Axis]:
    """A layer's vertical and horizontal axis; sizes are (height, width)."""
    pool = op.tail.pool
    vertical, horizontal = (
        Axis(
            input_size[axis],
            array_size[axis],
            output_size[axis],
            op.kernel[axis],
            op.stride[axis],
            op.dilation[axis],
            op.pads[axis],
            1 if pool is None else pool.kernel[axis],
            1 if pool is None else pool.stride[axis],
            0 if pool is None else pool.pads[axis],
            op.input_dilation[axis],
            op.pad_mode,
            clips,
        )
        for axis in (0, 1)
    )
    return vertical, horizontal
