"""A graph of layers as a standard ONNX graph of floating-point operators, exact to the bit.

Maps are [batch, channels, height, width] of real values, their channels padded with zeros to whole blocks. A layer
without `arithmetic` is computed in float32; one with it exactly (see `exact`), and a value with a
format is quantized to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from bfpc.emulator.array import lower_array
from bfpc.emulator.exact import FLOAT32_LIMIT
from bfpc.emulator.onnx_builder import FLOAT32, FLOAT64, OnnxBuilder, Tensor
from bfpc.emulator.quantizer import lower_quantizer
from bfpc.emulator.tail import lower_tail
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Concat, Layer
from bfpc.ir.shapes import array_shape


def block_of(graph: Graph) -> int:
    """Channels are padded to a multiple of this: the largest block in use."""
    formats = [value.format for value in (*graph.values, *(node.output for node in graph.nodes))]
    return max((format.block_size for format in formats if format is not None), default=1)


def pad_to(channels: int, block: int) -> int:
    return -(-channels // block) * block


def lower(graph: Graph, outputs: Sequence[str]) -> onnx.ModelProto:
    """The ONNX model that computes the values `outputs` from the graph's input maps.

    A value's ONNX output has its name with ":out" appended.
    """
    builder, block = OnnxBuilder(), block_of(graph)
    tensors = {value.name: Tensor(value.name) for value in graph.values}
    for node in graph.nodes:
        tensors[node.name] = _lower_node(builder, graph, node, tensors, block)
    for name in outputs:
        builder.call("Identity", tensors[name], output=f"{name}:out")
    ports: list[dict[str, tuple[int | str, ...]]] = []
    for names, suffix in (([value.name for value in graph.values], ""), (outputs, ":out")):
        shapes = {name: graph.value(name).shape for name in names}
        ports.append({f"{name}{suffix}": ("N", pad_to(c, block), h, w) for name, (c, h, w) in shapes.items()})
    return builder.model(graph.name, ports[0], ports[1])


def _lower_node(builder: OnnxBuilder, graph: Graph, node: Node, tensors: dict[str, Tensor], block: int) -> Tensor:
    if isinstance(node.op, Concat):
        return _lower_concat(builder, graph, node, tensors, block)
    assert isinstance(node.op, Layer), f"{node.name} is no layer"
    shapes = {"x": graph.value(node.inputs["x"]).shape, "weight": (node.output.shape[0],)}
    channels, height, width = array_shape(node.op, shapes)
    padded = pad_to(channels, block)
    x = tensors[node.inputs["x"]]
    x = lower_array(builder, graph, node, x, (pad_to(shapes["x"][0], block), padded))
    residual = tensors[node.inputs["residual"]] if "residual" in node.inputs else None
    x = lower_tail(builder, graph, node, x, residual, (padded, height, width))
    if node.arithmetic is None or node.output.format is None:
        return builder.cast(x, FLOAT32)
    if node.arithmetic.output_bound > FLOAT32_LIMIT:
        x = builder.cast(x, FLOAT64)
    shape = (padded, *node.output.shape[1:])
    return lower_quantizer(builder, x, shape, node.arithmetic.output_exponent, node.output.format)


def _lower_concat(builder: OnnxBuilder, graph: Graph, node: Node, tensors: dict[str, Tensor], block: int) -> Tensor:
    parts = []
    for name in node.inputs.values():
        part, channels = tensors[name], graph.value(name).shape[0]
        if channels % block:
            bounds = (builder.integers(0), builder.integers(channels), builder.integers(1))
            part = builder.call("Slice", part, *bounds)
        parts.append(part)
    joined = builder.call("Concat", *parts, axis=1)
    missing = pad_to(node.output.shape[0], block) - node.output.shape[0]
    if missing:
        joined = builder.call("Pad", joined, builder.integers(0, 0, 0, 0, 0, missing, 0, 0))
    return joined
