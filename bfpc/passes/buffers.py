"""What the smallest tile of a layer needs of the accelerator's buffers.

A tile is at least one output row, in as many columns as fill whole memory words, or all of them.
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod

from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Layer, Pair, Tail, Window
from bfpc.ir.shapes import array_size
from bfpc.passes.assign_formats import stored_formats

WORD_BITS = 64
ONE_POSITION = Window("max", (1, 1))


def layer_fits(graph: Graph, config: Config, node: Node) -> bool:
    """Whether the buffers hold a layer's smallest tile; graph: in which its input stands."""
    channels, height, width = graph.value(node.inputs["x"]).shape
    return most_channels(graph, config, node, node.layer, (height, width)) >= channels


def pair_fits(graph: Graph, config: Config, node: Node, behind: Node) -> bool:
    """Whether the buffers hold the smallest tile of a dense layer whose map streams to the layer behind it.

    That one's filter needs as much of the map as a pooling window would; a pass has one, or takes single positions.
    """
    channels, height, width = graph.value(node.inputs["x"]).shape
    filter = behind.layer
    window = filter.tail.pool or Window("max", filter.kernel, filter.stride, filter.pads)
    pooled = replace(node.layer, tail=Tail(pool=window))
    return most_channels(graph, config, behind, pooled, (height, width)) >= channels


def most_channels(graph: Graph, config: Config, node: Node, op: Layer, size: Pair) -> int:
    """The channels of a map of `size` (height, width) with which the buffers hold the smallest tile of `op`.

    0 where they never do. node: whose output, or a part of which, `op` makes.
    """
    positions = smallest_tile(graph, config, node, op, size)
    if prod(positions) > config.architecture.accumulator_positions:
        return 0
    return config.architecture.feature_depth // region(op, positions) * config.array_size.c_vec


def smallest_tile(graph: Graph, config: Config, node: Node, op: Layer, size: Pair) -> Pair:
    """Rows and columns of accumulators under one output row of `op`, which reads a map of `size`."""
    window, (height, width) = op.tail.pool or ONE_POSITION, array_size(op, size)
    count = min(narrowest_columns(graph, config, node), window.output_size((height, width))[1])
    return min(window.kernel[0], height), min((count - 1) * window.stride[1] + window.kernel[1], width)


def narrowest_columns(graph: Graph, config: Config, node: Node) -> int:
    """The fewest columns that fill whole words in every channel group of what a layer, or a part of it, writes."""
    group, channels = config.array_size.k_vec, node.output.shape[0]
    groups = (min(group, channels), (channels - 1) % group + 1)
    bits = (
        -(-size // stored.block_size) * (width * stored.block_size + stored.exponent_range.bit_length())
        for stored in stored_formats(graph, config, node)
        for width in {stored.stored_bits(signed=signed) for signed in (False, True)}
        for size in groups
    )
    return max(WORD_BITS // gcd(WORD_BITS, record) for record in bits)


def region(op: Layer, positions: Pair) -> int:
    """Positions of the map, halo included, that `positions` (rows, columns) of the array need."""
    reach = zip(positions, op.stride, op.kernel, op.dilation, op.input_dilation, strict=True)
    return prod(
        -(-((count - 1) * stride + (taps - 1) * dilation + 1) // step) + (step > 1)
        for count, stride, taps, dilation, step in reach
    )
