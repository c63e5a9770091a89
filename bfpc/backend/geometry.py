"""Which accumulator positions and input positions a tile of outputs needs, along one axis of the map."""

from __future__ import annotations

from dataclasses import dataclass

from bfpc.ir.operators import Layer, Pair


@dataclass(frozen=True)
class Span:
    """Positions of a tile: outputs; the array's, before pooling; the inputs, halo included; and those in the map."""

    output: range
    array: range
    region: range
    inside: range


@dataclass(frozen=True)
class Axis:
    """A layer along one axis: sizes of its maps, then filter and pooling window. Without pooling the window is 1."""

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

    def spans(self, tile: int) -> list[Span]:
        """The tiles of `tile` outputs, first to last; the last may be smaller."""
        starts = range(0, self.output_size, tile)
        return [self.span(range(start, min(start + tile, self.output_size))) for start in starts]

    def span(self, output: range) -> Span:
        first = max(0, output.start * self.pool_stride - self.pool_pad)
        last = min(self.array_size, (output.stop - 1) * self.pool_stride - self.pool_pad + self.pool_kernel)
        array = range(first, last)
        reach = (self.kernel - 1) * self.dilation + 1
        region = range(first * self.stride - self.pad, (last - 1) * self.stride - self.pad + reach)
        inside = range(max(0, region.start), max(0, region.start, min(self.input_size, region.stop)))
        return Span(output, array, region, inside)


def layer_axes(op: Layer, input_size: Pair, array_size: Pair, output_size: Pair) -> tuple[Axis, Axis]:
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
        )
        for axis in (0, 1)
    )
    return vertical, horizontal
