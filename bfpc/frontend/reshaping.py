"""Operators that change how a map is laid out: no node of the graph comes of most of them."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, constant, has_second_output, integers
from bfpc.frontend.node_builder import NodeBuilder, enlarge
from bfpc.frontend.tensor import Tensor, named, reshaped, single_axis, transposed
from bfpc.frontend.unsupported import DEFAULT_FIX, Unsupported

FLOATS = frozenset(
    {onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16, onnx_ir.DataType.DOUBLE}
)


def import_identity(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return net.view(node)


def import_dropout(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    if has_second_output(node):
        raise Unsupported("its second output, the mask, is used", "export the network for inference")
    return net.view(node)


def import_cast(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    target = onnx_ir.DataType(node.attributes.get_int("to", 0) or 0)
    if target not in FLOATS:
        raise Unsupported(f"it casts a feature map to {target.name}", DEFAULT_FIX)
    return net.view(node)


def import_transpose(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.view(node)
    order = node.attributes.get_ints("perm") or range(len(x.axes))[::-1]
    return transposed(x, [int(axis) for axis in order])


def import_flatten(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.view(node)
    axis = node.attributes.get_int("axis", 1) or 0
    axis += len(x.axes) * (axis < 0)
    return reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def import_reshape(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.view(node)
    target = integers(node, "shape", 1) or []
    keeps_zero = node.attributes.get_int("allowzero", 0)
    shape = [x.shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(target)]
    if -1 in shape:
        known = math.prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // max(known, 1)
    return reshaped(x, shape)


def import_squeeze(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.view(node)
    rank = len(x.axes)
    given = integers(node, "axes", 1)
    dropped = {axis % rank for axis in given} if given else {axis for axis in range(rank) if x.shape[axis] == 1}
    axes = tuple(group for axis, group in enumerate(x.axes) if axis not in dropped)
    return replace(x, axes=axes)


def import_unsqueeze(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.view(node)
    given = integers(node, "axes", 1) or []
    rank = len(x.axes) + len(given)
    added = {axis % rank for axis in given}
    groups = iter(x.axes)
    axes = tuple("" if axis in added else next(groups) for axis in range(rank))
    return replace(x, axes=axes)


def import_depth_to_space(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.map(node)
    batch, channels, height, width = _four(x)
    block = node.attributes.get_int("blocksize", 1) or 1
    if node.attributes.get_string("mode", "DCR") == "CRD":
        split = reshaped(x, (batch, channels // block**2, block, block, height, width))
        moved = transposed(split, (0, 1, 4, 2, 5, 3))
    else:
        split = reshaped(x, (batch, block, block, channels // block**2, height, width))
        moved = transposed(split, (0, 3, 4, 1, 5, 2))
    return net.rearrange(node, reshaped(moved, (batch, channels // block**2, height * block, width * block)))


def import_space_to_depth(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.map(node)
    batch, channels, height, width = _four(x)
    block = node.attributes.get_int("blocksize", 1) or 1
    split = reshaped(x, (batch, channels, height // block, block, width // block, block))
    order = (0, 1, 3, 5, 2, 4) if node.attributes.get_string("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = transposed(split, order)
    return net.rearrange(node, reshaped(moved, (batch, channels * block**2, height // block, width // block)))


def _four(x: Tensor) -> tuple[int, int, int, int]:
    return x.batch, *x.map_shape


def import_expand(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, target = net.feature(node), [int(size) for size in constant(node, 1).ravel()]
    rank = max(len(x.axes), len(target))
    target = [1] * (rank - len(target)) + target
    x = replace(x, axes=("",) * (rank - len(x.axes)) + x.axes)
    return _repeated(node, net, x, [max(sizes) for sizes in zip(x.shape, target, strict=True)])


def import_tile(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, repeats = net.feature(node), constant(node, 1).ravel().tolist()
    if any(size > 1 and times > 1 for size, times in zip(x.shape, repeats, strict=True)):
        raise Unsupported("it tiles an axis larger than 1", "join copies with Concat")
    return _repeated(node, net, x, [size * times for size, times in zip(x.shape, repeats, strict=True)])


def _repeated(node: onnx_ir.Node, net: GraphBuilder, x: Tensor, shape: list[int]) -> Tensor:
    """The tensor with axes of size 1 repeated."""
    x = named(x)
    sizes = {single_axis(x, axis, "repeats"): size for axis, size in enumerate(shape) if size != x.shape[axis]}
    if "N" in sizes:
        raise Unsupported("it repeats the batch", "repeat channels, height or width only")
    channels, height, width = (sizes.get(letter, x.size(letter)) for letter in "CHW")
    return enlarge(NodeBuilder(node, net), x, (channels, height, width))
