"""Cuts off the end of a network that the accelerator cannot compute, for the host.

Conv -> Gemm -> Softmax        ->        graph: Conv -> Gemm        epilogue: Softmax
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx
import onnx_ir

from bfpc.frontend.builder import GraphBuilder
from bfpc.frontend.operators import LAYOUT_IMPORTERS


@dataclass(frozen=True)
class Cut:
    """The ONNX names of the tensors that the accelerator hands out, and the model that takes it from there."""

    outputs: tuple[str, ...]
    epilogue: onnx.ModelProto | None


def cut_epilogue(model: onnx_ir.Model, net: GraphBuilder, unsupported: Collection[onnx_ir.Node]) -> Cut | None:
    """Leaves `unsupported` nodes, and the changes of layout after them, to the host.

    None if another operator depends on them, or if they read an input of the network. Inputs of the epilogue have the
    names of the graph's outputs.
    """
    outputs = [str(value.name) for value in model.graph.outputs]
    if not unsupported:
        return Cut(tuple(outputs), None)
    host = _downstream(model.graph, unsupported)
    if any(node not in unsupported and node.op_type not in LAYOUT_IMPORTERS for node in host):
        return None
    made = {str(value.name) for node in host for value in node.outputs}
    read = {
        str(value.name) for node in host for value in node.inputs if value is not None and value.const_value is None
    }
    boundary = [name for name in net.tensors if name in read - made]
    inputs = {value.name for value in model.graph.inputs}
    if any(net.tensors[name].value in inputs for name in boundary):
        return None
    finals = [name for name in outputs if name in made]
    direct = [name for name in outputs if name not in made]
    return Cut(tuple(dict.fromkeys(direct + boundary)), _extract(model, boundary, finals))


def _downstream(graph: onnx_ir.Graph, nodes: Collection[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """The nodes and all that depend on them, in order."""
    reached: dict[onnx_ir.Node, None] = {}
    for node in graph:
        producers = (value.producer() for value in node.inputs if value is not None)
        if node in nodes or any(producer in reached for producer in producers):
            reached[node] = None
    return list(reached)


def _extract(model: onnx_ir.Model, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """The part of the model from `inputs` to `outputs`, for any batch size."""
    part = onnx_ir.convenience.extract(model.graph, inputs, outputs)
    proto = onnx_ir.serde.serialize_model(onnx_ir.Model(part, ir_version=model.ir_version, producer_name="bfpc"))
    del proto.graph.value_info[:]
    for tensor in (*proto.graph.input, *proto.graph.output):
        if tensor.type.tensor_type.shape.dim:
            tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    return proto
