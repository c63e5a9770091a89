"""Operators that only change how a map is laid out: no node of the graph comes of them."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, has_second_output, integers
from bfpc.frontend.tensor import Tensor, reshaped, transposed
from bfpc.frontend.unsupported import DEFAULT_FIX, Unsupported

FLOATS = frozenset(
    {onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16, onnx_ir.DataType.DOUBLE}
)


def import_identity(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return net.feature(node)


def import_dropout(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    if has_second_output(node):
        raise Unsupported("its second output, the mask, is used", "export the network for inference")
    return net.feature(node)


def import_cast(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    target = onnx_ir.DataType(node.attributes.get_int("to", 0) or 0)
    if target not in FLOATS:
        raise Unsupported(f"it casts a feature map to {target.name}", DEFAULT_FIX)
    return net.feature(node)


def import_transpose(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    order = node.attributes.get_ints("perm") or range(len(x.axes))[::-1]
    return transposed(x, [int(axis) for axis in order])


def import_flatten(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    axis = node.attributes.get_int("axis", 1) or 0
    axis += len(x.axes) * (axis < 0)
    return reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def import_reshape(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    target = integers(node, "shape", 1) or []
    keeps_zero = node.attributes.get_int("allowzero", 0)
    shape = [x.shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(target)]
    if -1 in shape:
        known = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // max(known, 1)
    return reshaped(x, shape)


def import_squeeze(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    rank = len(x.axes)
    given = integers(node, "axes", 1)
    dropped = {axis % rank for axis in given} if given else {axis for axis in range(rank) if x.shape[axis] == 1}
    axes = tuple(group for axis, group in enumerate(x.axes) if axis not in dropped)
    return replace(x, axes=axes)


def import_unsqueeze(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    given = integers(node, "axes", 1) or []
    rank = len(x.axes) + len(given)
    added = {axis % rank for axis in given}
    groups = iter(x.axes)
    axes = tuple("" if axis in added else next(groups) for axis in range(rank))
    return replace(x, axes=axes)
