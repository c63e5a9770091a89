"""Host segments as ONNX models: parts of the original network that onnxruntime runs by themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx
import onnx_ir
from onnx_ir import serde


def operands(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """What a node reads, without absent inputs; what the bodies of If and Loop read from outside is part of it."""
    return list(dict.fromkeys([value for value in node.inputs if value is not None] + list(_captured(node))))


def _captured(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    for body in _bodies(node):
        inner = {*body.inputs, *body.initializers.values(), *(value for each in body for value in each.outputs)}
        read = [*(value for each in body for value in operands(each)), *body.outputs]
        yield from (value for value in read if value not in inner)


def _bodies(node: onnx_ir.Node) -> Iterator[onnx_ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == onnx_ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == onnx_ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def is_computed(value: onnx_ir.Value) -> bool:
    """Whether a value is an input of the network or made by a node, not a constant."""
    return value.const_value is None


def segment_model(
    model: onnx_ir.Model,
    nodes: Sequence[onnx_ir.Node],
    inputs: Collection[onnx_ir.Value],
    outputs: Collection[onnx_ir.Value],
    *,
    any_batch: bool,
) -> bytes:
    """The nodes with their constants as a serialized model; with `any_batch` a first axis of 1 takes any size."""
    constants = dict.fromkeys(value for node in nodes for value in operands(node) if not is_computed(value))
    kept = _batch_keeping(nodes) if any_batch else set()
    graph = onnx.helper.make_graph(
        [serde.serialize_node(node) for node in nodes],
        str(model.graph.name or "host"),
        [_declare(value, any_batch) for value in inputs],
        [_declare(value, any_batch) for value in outputs],
        [_serialize_constant(value, keeps_batch=value in kept) for value in constants],
    )
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version, producer_name="bfpc")
    return bytes(proto.SerializeToString(deterministic=True))


def _declare(value: onnx_ir.Value, any_batch: bool) -> onnx.ValueInfoProto:
    declared = serde.serialize_value(value)
    dims = declared.type.tensor_type.shape.dim
    if any_batch and dims and dims[0].dim_value == 1:
        dims[0].dim_param = "N"
    return declared


def _batch_keeping(nodes: Sequence[onnx_ir.Node]) -> set[onnx_ir.Value]:
    """The target shapes of Reshapes that leave a first axis of 1 as it is."""
    targets: set[onnx_ir.Value] = set()
    others: set[onnx_ir.Value] = set()
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is not None:
                keeps = node.op_type == "Reshape" and index == 1 and _keeps_batch(node)
                (targets if keeps else others).add(value)
    return targets - others


def _keeps_batch(reshape: onnx_ir.Node) -> bool:
    source, target = reshape.inputs
    if (
        source is None
        or target is None
        or target.const_value is None
        or reshape.attributes.get_int("allowzero", 0) == 1
    ):
        return False
    sizes, shape = target.const_value.numpy(), source.shape
    return shape is not None and len(shape) > 0 and shape[0] == 1 and sizes.size > 0 and int(sizes[0]) == 1


def _serialize_constant(value: onnx_ir.Value, *, keeps_batch: bool) -> onnx.TensorProto:
    assert value.const_value is not None
    if keeps_batch:  # 0 takes the size over
        return onnx.numpy_helper.from_array(np.concatenate([[0], value.const_value.numpy()[1:]]), str(value.name))
    tensor = serde.serialize_tensor(value.const_value)
    tensor.name = str(value.name)
    return tensor
