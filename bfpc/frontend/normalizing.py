"""Brings models of other tools into the form that importers and onnxruntime read: real weights, ordinary types.

QuantizeLinear -> DequantizeLinear    ->  nothing
DequantizeLinear of a constant        ->  the real constant
bfloat16                              ->  float32
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx_ir.passes import common

TYPE_ATTRIBUTES = frozenset(("to", "dtype", "output_dtype"))


def normalize(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model without quantization pairs and bfloat16, and a sentence on each of the two that it had.

    A pair also limits its tensor to the range of its integers, which is a Relu where they have no sign and start at
    zero. That goes with it: what the quantizer before bfpc knew of the ranges, calibration finds anew.
    """
    notes = []
    if any(_is(node, "DequantizeLinear") for node in model.graph.node):
        network = onnx_ir.serde.deserialize_model(model)
        pairs = _drop_pairs(network.graph)
        common.RemoveUnusedNodesPass()(network)
        model = onnx_ir.serde.serialize_model(network)
        what = f"{pairs} QuantizeLinear/DequantizeLinear pair{'s were' if pairs != 1 else ' was'} dropped"
        notes.append(f"{what}: the network is quantized anew, from its real weights")
    graphs = [model.graph.node, *(function.node for function in model.functions)]
    if any([_widen_graph(model.graph), *map(_widen_nodes, graphs)]):
        notes.append("bfloat16 became float32 everywhere, in the network's inputs and outputs, too")
    return model, tuple(notes)


def _is(node: onnx.NodeProto | onnx_ir.Node, operator: str) -> bool:
    return node.op_type == operator and node.domain in ("", "ai.onnx")


# -- quantization pairs -----------------------------------------------------------------------------------------------


def _drop_pairs(graph: onnx_ir.Graph) -> int:
    """Drops what can be; returns the number of nodes that made real numbers."""
    dropped = 0
    for node in list(graph):
        if not _is(node, "DequantizeLinear") or node.inputs[0] is None:
            continue
        quantizer = node.inputs[0].producer()
        if quantizer is not None and _is(quantizer, "QuantizeLinear"):
            _bypass(node, quantizer.inputs[0])
        elif all(value is None or onnx_ir.convenience.get_const_tensor(value) is not None for value in node.inputs):
            _make_constant(graph, node)
        else:
            continue
        dropped += 1
    return dropped


def _bypass(node: onnx_ir.Node, real: onnx_ir.Value | None) -> None:
    """Lets what reads the node's output read `real`; an output of the network keeps its name."""
    assert real is not None
    if not node.outputs[0].is_graph_output():
        node.outputs[0].replace_all_uses_with(real)
        return
    node.op_type = "Identity"
    node.resize_inputs(1)
    node.replace_input_with(0, real)
    node.attributes.clear()


def _make_constant(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    output, array = node.outputs[0], _real_numbers(node)
    if output.is_graph_output():
        return
    name, output.name = output.name, f"{output.name}.quantized"
    tensor = onnx_ir.tensor(array, name=name)
    constant = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(constant)
    output.replace_all_uses_with(constant)


def _real_numbers(node: onnx_ir.Node) -> NDArray[np.float32]:
    """(integers - zero point) * scale, for one scale, one per index of an axis, or one per block along it."""
    given = [None if value is None else onnx_ir.convenience.get_const_tensor(value) for value in node.inputs]
    integers, scale, *zero = (None if tensor is None else tensor.numpy().astype(np.float64) for tensor in given)
    assert integers is not None
    assert scale is not None
    axis = node.attributes.get_int("axis", 1) or 0
    block = node.attributes.get_int("block_size", 0) or 0
    offset = zero[0] if zero and zero[0] is not None else np.zeros_like(scale)
    scale, offset = (_spread(vector, integers.shape, axis, block) for vector in (scale, offset))
    return np.asarray((integers - offset) * scale, np.float32)


def _spread(vector: NDArray[np.float64], shape: tuple[int, ...], axis: int, block: int) -> NDArray[np.float64]:
    """What broadcasts against `shape`."""
    if block:
        return np.repeat(vector, block, axis).take(range(shape[axis]), axis)
    if vector.size == 1:
        return vector.reshape(())
    return vector.reshape([-1 if index == axis % len(shape) else 1 for index in range(len(shape))])


# -- bfloat16 ----------------------------------------------------------------------------------------------------------


def _widen_graph(graph: onnx.GraphProto) -> bool:
    """Makes bfloat16 constants and declarations float32; returns whether there were any."""
    tensors = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.BFLOAT16]
    types = [value.type.tensor_type for values in (graph.input, graph.output, graph.value_info) for value in values]
    types = [each for each in types if each.elem_type == TensorProto.BFLOAT16]
    for tensor in tensors:
        _widen_tensor(tensor)
    for each in types:
        each.elem_type = TensorProto.FLOAT
    return bool(tensors or types)


def _widen_nodes(nodes: Iterable[onnx.NodeProto]) -> bool:
    """The same for the attributes of nodes, and for the graphs among them."""
    changed = False
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.t.data_type == TensorProto.BFLOAT16:
            _widen_tensor(attribute.t)
            changed = True
        if attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.BFLOAT16:
            attribute.i = TensorProto.FLOAT
            changed = True
        for graph in (attribute.g, *attribute.graphs):
            changed |= _widen_graph(graph) | _widen_nodes(graph.node)
    return changed


def _widen_tensor(tensor: TensorProto) -> None:
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
