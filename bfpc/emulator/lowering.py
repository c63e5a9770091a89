"""A graph of layers as a standard ONNX graph of floating-point operators, exact to the bit.

Maps are [batch, channels, height, width] of real values, their channels padded with zeros to whole blocks. A layer
without `arithmetic` is computed in float32; one with it exactly (see `exact`), and a value with a
format is quantized to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from bfpc.emulator.array import lower_array
from bfpc.emulator.exact import FLOAT32_LIMIT
from bfpc.emulator.onnx_builder import FLOAT32, FLOAT64, OnnxBuilder, Tensor, float_tensor
from bfpc.emulator.quantizer import lower_quantizer
from bfpc.emulator.tail import lower_tail
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat
from bfpc.ir.shapes import array_size


def block_of(graph: Graph) -> int:
    """Channels are padded to a multiple of this: the largest block in use."""
    formats = [value.format for value in (*graph.values, *(node.output for node in graph.nodes))]
    return max((format.block_size for format in formats if format is not None), default=1)


def pad_to(channels: int, block: int) -> int:
    return -(-channels // block) * block


@dataclass(frozen=True)
class Lowered:
    """A value of the graph in the ONNX graph, and the weights of its blocks' LSBs where a layer quantizes it."""

    tensor: Tensor
    lsb: Tensor | None = None


def lower(graph: Graph, outputs: Sequence[str], *, with_lsb: bool = False) -> onnx.ModelProto:
    """The ONNX model that computes the values `outputs` from the graph's input maps.

    A value's ONNX output has its name with ":out" appended, the weights of its blocks' LSBs, wanted only for values
    that a layer quantizes, with ":lsb".
    """
    builder, block = OnnxBuilder(), block_of(graph)
    lowered = {value.name: Lowered(Tensor(value.name)) for value in graph.values}
    lower_nodes(builder, graph, graph.nodes, lowered, block)
    inputs = [
        float_tensor(value.name, ("N", pad_to(value.shape[0], block), *value.shape[1:])) for value in graph.values
    ]
    results = []
    for name in outputs:
        channels, height, width = graph.value(name).shape
        padded = pad_to(channels, block)
        builder.call("Identity", lowered[name].tensor, output=f"{name}:out")
        results.append(float_tensor(f"{name}:out", ("N", padded, height, width)))
        if with_lsb:
            lsb = lowered[name].lsb
            assert lsb is not None, f"no layer quantizes {name}"
            builder.call("Identity", lsb, output=f"{name}:lsb")
            blocks = padded // graph.format(name).block_size
            results.append(float_tensor(f"{name}:lsb", ("N", blocks, 1, height * width)))
    return builder.model(graph.name, inputs, results)


def lower_nodes(
    builder: OnnxBuilder, graph: Graph, nodes: Iterable[Node], lowered: dict[str, Lowered], block: int
) -> None:
    """Adds to `lowered` what the nodes make, from what is there."""
    for node in nodes:
        lowered[node.name] = _lower_node(builder, graph, node, lowered, block)


def _lower_node(builder: OnnxBuilder, graph: Graph, node: Node, lowered: Mapping[str, Lowered], block: int) -> Lowered:
    if isinstance(node.op, Concat):
        return Lowered(_lower_concat(builder, graph, node, lowered, block))
    if isinstance(node.op, Channels):
        part = take_channels(builder, lowered[node.inputs["x"]].tensor, node.op.start, node.op.stop)
        return Lowered(whole_blocks(builder, part, node.output.shape[0], block))
    channels, height, width = graph.value(node.inputs["x"]).shape
    padded = pad_to(node.output.shape[0], block)
    shape = (padded, *array_size(node.layer, (height, width)))
    x = lower_array(builder, graph, node, lowered[node.inputs["x"]].tensor, pad_to(channels, block), shape)
    residual = lowered[node.inputs["residual"]].tensor if "residual" in node.inputs else None
    x = lower_tail(builder, graph, node, x, residual, shape)
    if node.arithmetic is None or node.output.format is None:
        return Lowered(builder.cast(x, FLOAT32))
    if node.arithmetic.output_bound > FLOAT32_LIMIT:
        x = builder.cast(x, FLOAT64)
    shape = (padded, *node.output.shape[1:])
    return Lowered(*lower_quantizer(builder, x, shape, node.arithmetic.output_exponent, node.output.format))


def _lower_concat(builder: OnnxBuilder, graph: Graph, node: Node, lowered: Mapping[str, Lowered], block: int) -> Tensor:
    parts = []
    for name in node.inputs.values():
        part, channels = lowered[name].tensor, graph.value(name).shape[0]
        parts.append(take_channels(builder, part, 0, channels) if channels % block else part)
    return whole_blocks(builder, builder.call("Concat", *parts, axis=1), node.output.shape[0], block)


def take_channels(builder: OnnxBuilder, x: Tensor, start: int, stop: int) -> Tensor:
    """The channels from `start` to before `stop`."""
    return builder.call("Slice", x, builder.integers(start), builder.integers(stop), builder.integers(1))


def whole_blocks(builder: OnnxBuilder, x: Tensor, channels: int, block: int) -> Tensor:
    """A map of so many channels, padded with zeros to whole blocks."""
    missing = pad_to(channels, block) - channels
    return x if missing == 0 else builder.call("Pad", x, builder.integers(0, 0, 0, 0, 0, missing, 0, 0))
