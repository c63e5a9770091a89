"""Shapes that no tensor can have, node by node, before onnx infers those of the whole model.

onnx 1.23 ends the process where a Slice reads a tensor of a negative size, as of a pool whose window is larger than its
map: that must be an error instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, TypeProto

from bfpc.errors import ModelError

DATA_ELEMENTS = 1024  # of the constants that shapes follow from

Types = Mapping[str, TypeProto]
Data = Mapping[str, TensorProto]


def check_shapes(model: onnx.ModelProto, path: Path) -> None:
    """Raises ModelError where a node would make a tensor of a negative size, as far as a first look can tell."""
    opsets = {
        "": 1,
        **{"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import},
    }
    _check_graph(model.graph, opsets, {}, {}, path)


def _check_graph(graph: onnx.GraphProto, opsets: Mapping[str, int], outer: Types, constants: Data, path: Path) -> None:
    types, data = dict(outer), dict(constants)
    for value in (*graph.input, *graph.value_info):
        types[value.name] = value.type
        _check_type(value.name, value.type, "is declared with", path)
    for tensor in graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        data.update({tensor.name: tensor} if math.prod(tensor.dims) <= DATA_ELEMENTS else {})
    for node in graph.node:
        bodies = [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.node]
        for body in bodies:
            _check_graph(body, opsets, types, data, path)
        if bodies:
            continue
        for name, made in _inferred(node, opsets, types, data).items():
            _check_type(name, made, f"of node {node.name or name} ({node.op_type}) would have", path)
            types[name] = made
        data.update((node.output[0], each.t) for each in node.attribute if node.op_type == "Constant" and node.output)


def _inferred(node: onnx.NodeProto, opsets: Mapping[str, int], types: Types, data: Data) -> dict[str, TypeProto]:
    """The types of a node's outputs; none where they do not follow, which is told later."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[node.domain.removeprefix("ai.onnx")], node.domain)
        read = {name: types[name] for name in node.input if name}
        return onnx.shape_inference.infer_node_outputs(
            schema, node, read, {name: data[name] for name in read if name in data}
        )
    except Exception:  # what onnx raises is not documented
        return {}


def _check_type(name: str, type: TypeProto, verb: str, path: Path) -> None:
    sizes = [dim.dim_value for dim in type.tensor_type.shape.dim]
    if min(sizes, default=0) < 0:
        what = f"the tensor {name} {verb} the shape {sizes}"
        raise ModelError(what, where=str(path), fix="make windows, pads and crops fit the size of the map")
