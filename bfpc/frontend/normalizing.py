"""Brings models of other tools into the form that importers and onnxruntime read: real weights, ordinary types.

quantized tensors  ->  real ones (see `quantization_pairs`)
bfloat16           ->  float32
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, numpy_helper
from onnx_ir.passes import common

from bfpc.frontend.quantization_pairs import drop_pairs

TYPE_ATTRIBUTES = frozenset(("to", "dtype", "output_dtype"))


def normalize(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model without quantization pairs and bfloat16, and a sentence on each of the two that it had."""
    notes = []
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        network = onnx_ir.serde.deserialize_model(model)
        if pairs := drop_pairs(network.graph):
            common.RemoveUnusedNodesPass()(network)
            model = onnx_ir.serde.serialize_model(network)
            what = f"{pairs} QuantizeLinear/DequantizeLinear pair{'s were' if pairs != 1 else ' was'} dropped"
            kept = "ranges that begin or end at zero remain, as Clips"
            notes.append(f"{what}: the network is quantized anew, from its real weights; {kept}")
    graphs = [model.graph.node, *(function.node for function in model.functions)]
    if any([_widen_graph(model.graph), *map(_widen_nodes, graphs)]):
        notes.append("bfloat16 became float32 everywhere, in the network's inputs and outputs, too")
    return model, tuple(notes)


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
