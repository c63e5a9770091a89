"""The quantized network as one ONNX model of standard operators, exact to the bit.

It takes the original network's inputs, quantizes them as the host does for the accelerator, computes the layers as the
emulator does, and has the host's segments, as they are, between and around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnx

from bfpc.emulator.host_graphs import HostGraph, load_host
from bfpc.emulator.layouts import lower_input, to_onnx
from bfpc.emulator.lowering import Lowered, block_of, lower_nodes
from bfpc.emulator.onnx_builder import OPSET, OnnxBuilder, Tensor, float_tensor
from bfpc.ir.graph import Graph, Port, Shape
from bfpc.ir.partition import HostSegment

Batch = int | str
Declared = Mapping[str, onnx.ValueInfoProto]


def export_model(graph: Graph, host: Sequence[HostSegment], network: onnx.GraphProto) -> onnx.ModelProto:
    """A quantized graph and what the host computes around it, as a model with the inputs and outputs of `network`.

    network: the original, from which `graph` and `host` were made. The batch is dynamic unless a host segment fixes it.
    Raises ModelError where the host's operators are of an old opset that onnx cannot convert.
    """
    names = [value.name for value in (*network.input, *network.output)]
    loaded = load_host(host, OPSET, taken=[*names, *(port.name for port in graph.inputs)])
    segments = loaded.segments
    inputs, outputs = _declarations(graph, segments, network)
    builder = OnnxBuilder(loaded.opset, reserved=names)
    tensors = {key: Tensor(key, _element_type(declared)) for key, declared in inputs.items()}
    maps: dict[str, Lowered] = {}
    stages, block = graph.stages, block_of(graph)
    for stage in range(max([*stages.values(), *(segment.stage for segment in segments)], default=0) + 1):
        for segment in (segment for segment in segments if segment.stage == stage):
            tensors |= _merge(builder, segment, tensors)
        for port in (port for port in graph.inputs if port.stage == stage):
            maps[port.value] = Lowered(lower_input(builder, tensors[port.name], port, graph.value(port.value), block))
        lower_nodes(builder, graph, [node for node in graph.nodes if stages[node.name] == stage], maps, block)
        for port in (port for port in graph.outputs if stages[port.value] == stage):
            tensors[port.name] = to_onnx(builder, maps[port.value].tensor, port.axes, graph.value(port.value).shape)
    for key, declared in outputs.items():
        builder.call("Identity", builder.cast(tensors[key], _element_type(declared)), output=key)
    return builder.model(graph.name, list(inputs.values()), list(outputs.values()), loaded.domains)


def _merge(builder: OnnxBuilder, segment: HostGraph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds a segment's nodes; returns its outputs by their original names."""
    for name, declared in segment.inputs.items():
        builder.call("Identity", builder.cast(tensors[name], _element_type(declared)), output=segment.prefix + name)
    builder.merge(segment.graph)
    return {name: Tensor(segment.prefix + name, _element_type(info)) for name, info in segment.outputs.items()}


def _element_type(declared: onnx.ValueInfoProto) -> np.dtype[np.generic]:
    return onnx.helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)


def _declarations(
    graph: Graph, segments: Sequence[HostGraph], network: onnx.GraphProto
) -> tuple[dict[str, onnx.ValueInfoProto], dict[str, onnx.ValueInfoProto]]:
    """The network's inputs and outputs by name, of its types; those that the host reads or makes are as large there."""
    read = {name: info for segment in segments for name, info in segment.inputs.items()}
    made = {name: info for segment in segments for name, info in segment.outputs.items()}
    batch = _batch(graph, {**made, **read})
    maps = {port.name: _declare(graph, port, batch) for port in (*graph.inputs, *graph.outputs)}
    constants = {tensor.name for tensor in network.initializer}
    given = [value for value in network.input if value.name not in constants]
    inputs = {value.name: _resized(value, {**maps, **read}, batch) for value in given}
    return inputs, {value.name: _resized(value, {**read, **maps, **made}, batch) for value in network.output}


def _resized(value: onnx.ValueInfoProto, sizes: Declared, batch: Batch) -> onnx.ValueInfoProto:
    """A declaration with the shape that the value of its name has in `sizes`; one that nothing reads is not there."""
    resized = onnx.ValueInfoProto()
    resized.CopyFrom(value)
    if value.name in sizes:
        kind = sizes[value.name].type.tensor_type
        resized.type.tensor_type.ClearField("shape")
        if kind.HasField("shape"):
            resized.type.tensor_type.shape.CopyFrom(kind.shape)
    elif batch == "N":
        for dim in resized.type.tensor_type.shape.dim[:1]:
            dim.dim_param = "N"
    return resized


def _declare(graph: Graph, port: Port, batch: Batch) -> onnx.ValueInfoProto:
    return float_tensor(port.name, _dims(port, port.map_shape(graph.value(port.value)), batch))


def _batch(graph: Graph, crossing: Declared) -> Batch:
    """The number of images that a host segment takes or makes; "N", any number, where none says."""
    for port in (port for port in (*graph.inputs, *graph.outputs) if port.name in crossing):
        sizes = [int(dim.dim_value) for dim in crossing[port.name].type.tensor_type.shape.dim]
        if all(sizes):
            return prod(sizes) // prod(port.map_shape(graph.value(port.value)))
    return "N"


def _dims(port: Port, shape: Shape, batch: Batch) -> list[int | str | None]:
    """The sizes of a port's tensor."""
    sizes = {**dict(zip("CHW", shape, strict=True)), "N": batch}
    known: list[int | str | None] = []
    for group in port.axes:
        factors = [sizes[axis] for axis in group]
        numbers = [factor for factor in factors if isinstance(factor, int)]
        known.append(prod(numbers) if len(numbers) == len(factors) else batch if len(factors) == 1 else None)
    return known
