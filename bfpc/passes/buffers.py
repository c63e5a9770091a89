"""What the smallest tile of a layer needs of the accelerator's buffers.

A tile is at least one output row, in as many columns as fill whole memory words, or all of them.
"""

from __future__ import annotations

from math import gcd, prod

from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Layer, Pair, Window
from bfpc.ir.shapes import array_size
from bfpc.passes.assign_formats import layer_formats

WORD_BITS = 64
ONE_POSITION = Window("max", (1, 1))


def layer_fits(graph: Graph, config: Config, node: Node) -> bool:
    """Whether the buffers hold a layer's smallest tile; graph: in which its input stands."""
    op, size = node.layer, graph.value(node.inputs["x"]).shape[1:]
    return window_fits(graph, config, node, op.tail.pool or ONE_POSITION, array_size(op, size))


def window_fits(graph: Graph, config: Config, node: Node, window: Window, size: Pair) -> bool:
    """The same of a layer that pools with `window`, and has `size` (height, width) positions to pool."""
    positions = tile_positions(window, size, narrowest_columns(graph, config, node))
    vectors = -(-graph.value(node.inputs["x"]).shape[0] // config.array_size.c_vec)
    return (
        prod(positions) <= config.architecture.accumulator_positions
        and region(node.layer, positions) * vectors <= config.architecture.feature_depth
    )


def tile_positions(window: Window, size: Pair, columns: int) -> Pair:
    """Rows and columns under the windows of one output row, `columns` wide if the map is."""
    count = min(columns, window.output_size(size)[1])
    return min(window.kernel[0], size[0]), min((count - 1) * window.stride[1] + window.kernel[1], size[1])


def narrowest_columns(graph: Graph, config: Config, node: Node) -> int:
    """The fewest columns of what a layer writes that fill whole words in every channel group."""
    chosen, group = layer_formats(graph, config, node).activation, config.array_size.k_vec
    block_bits = chosen.mantissa_bits * chosen.block_size + chosen.exponent_range.bit_length()
    last = (node.output.shape[0] - 1) % group + 1
    blocks = [-(-channels // chosen.block_size) for channels in (min(group, node.output.shape[0]), last)]
    return WORD_BITS // gcd(WORD_BITS, *(count * block_bits for count in blocks))


def region(op: Layer, positions: Pair) -> int:
    """Positions of the map, halo included, that `positions` (rows, columns) of the array need."""
    reach = zip(positions, op.stride, op.kernel, op.dilation, op.input_dilation, strict=True)
    return prod(
        -(-((count - 1) * stride + (taps - 1) * dilation + 1) // step) + (step > 1)
        for count, stride, taps, dilation, step in reach
    )
