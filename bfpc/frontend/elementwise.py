"""Arithmetic between a feature map and a constant or another map, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, Importer, input_name, weights
from bfpc.frontend.node_builder import NodeBuilder, enlarge, within
from bfpc.frontend.tensor import Tensor, per_channel, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Shape
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Clip, Elementwise

Vector = NDArray[np.float32]
Operation = Literal["add", "subtract", "multiply"]


def import_add(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    build = NodeBuilder(node, net)
    if _is_map(node, net, 0) and _is_map(node, net, 1):
        return join_maps(build, "add", net.feature(node, 0), net.feature(node, 1))
    x, constant, _ = _with_constant(node, net)
    return build.scale(x, 1.0, constant)


def import_sub(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    build = NodeBuilder(node, net)
    if _is_map(node, net, 0) and _is_map(node, net, 1):
        return join_maps(build, "subtract", net.feature(node, 0), net.feature(node, 1))
    x, constant, is_second = _with_constant(node, net)
    return build.scale(x, 1.0, -constant) if is_second else build.scale(x, -1.0, constant)


def import_mul(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    build = NodeBuilder(node, net)
    if _is_map(node, net, 0) and _is_map(node, net, 1):
        return join_maps(build, "multiply", net.feature(node, 0), net.feature(node, 1))
    x, constant, _ = _with_constant(node, net)
    return build.scale(x, constant)


def import_div(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """x / y is x times the reciprocal of y, which a table gives."""
    build = NodeBuilder(node, net)
    if _is_map(node, net, 0) and _is_map(node, net, 1):
        x, y = net.feature(node, 0), net.feature(node, 1)
        return join_maps(build, "multiply", x, build.table(y, ("reciprocal",), role="reciprocal"))
    x, constant, is_second = _with_constant(node, net)
    if not is_second:
        return build.scale(build.table(x, ("reciprocal",), role="reciprocal"), constant)
    if not constant.all():
        raise Unsupported("it divides by zero", "check its constant")
    return build.scale(x, 1 / constant.astype(np.float64))


def import_neg(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return NodeBuilder(node, net).scale(net.feature(node), -1.0)


def import_sum(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    return _sum(node, net, last="")


def import_mean(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    count = len(node.inputs)
    return NodeBuilder(node, net).scale(_sum(node, net, last="sum"), 1 / count)


def _sum(node: onnx_ir.Node, net: GraphBuilder, last: str) -> Tensor:
    """The sum of all inputs; the last of its nodes has the role `last`."""
    build, total = NodeBuilder(node, net), net.feature(node, 0)
    final = len(node.inputs) - 1
    for index in range(1, final + 1):
        total = join_maps(build, "add", total, net.feature(node, index), role=last if index == final else f"sum{index}")
    return total


def import_extremum(bound: Callable[[float], Clip]) -> Importer:
    """The importer of Max or Min of a map and constants; `bound` makes a clip of the constant."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        maps = [index for index in range(len(node.inputs)) if _is_map(node, net, index)]
        if len(maps) != 1 or len(node.inputs) != 2:
            raise Unsupported("it compares several maps", "compare a map with one constant; use Clip")
        x, constant, _ = _with_constant(node, net)
        if len(set(constant.tolist())) > 1:
            raise Unsupported("its constant differs between channels", "use one number for all channels")
        return NodeBuilder(node, net).activate(bound(float(constant[0])), x)

    return importer


def join_maps(build: NodeBuilder, operation: Operation, x: Tensor, y: Tensor, role: str = "") -> Tensor:
    """x + y, x - y or x * y; the smaller map is repeated."""
    if x.value == y.value and x.layout == y.layout and operation == "add":
        return build.scale(x, 2.0, role=role)
    axes, shape = common_axes(x, y)
    x, y = replace(x, axes=axes), replace(y, axes=axes)
    if x.map_shape != shape and y.map_shape == shape:
        if operation == "subtract":
            y, operation = build.scale(y, -1.0, role=within(role, "negated")), "add"
        x, y = y, x
    if x.map_shape != shape:
        x = enlarge(build, x, shape, role=within(role, "enlarged"))
    one_position = (shape[0], 1, 1)
    if y.map_shape not in (shape, one_position):
        y = enlarge(build, y, one_position if y.map_shape[1:] == (1, 1) else shape, role=within(role, "repeated"))
    return build.emit(Elementwise(operation), x, role, residual=y.value)


def common_axes(x: Tensor, y: Tensor) -> tuple[Axes, Shape]:
    """The axes of what ONNX's broadcasting makes of two tensors, and the shape of its map; Unsupported if none fit."""
    rank = max(len(x.axes), len(y.axes))
    x, y = (replace(tensor, axes=("",) * (rank - len(tensor.axes)) + tensor.axes) for tensor in (x, y))
    axes = tuple(mine or other for mine, other in zip(x.layout, y.layout, strict=True))
    agree = all(
        mine in ("", group) and other in ("", group)
        for mine, other, group in zip(x.layout, y.layout, axes, strict=True)
    )
    if not agree or len(set("".join(axes))) < len("".join(axes)):
        raise Unsupported(
            f"its operands are laid out differently, {show(x.axes)} and {show(y.axes)}",
            "transpose or flatten both in the same way",
        )
    used = "".join(axes)
    kept = (group or (own if own not in used else "") for group, own in zip(axes, x.axes, strict=True))
    channels, height, width = (max(x.size(axis), y.size(axis)) for axis in "CHW")
    return tuple(kept), (channels, height, width)


def _is_map(node: onnx_ir.Node, net: GraphBuilder, index: int) -> bool:
    return input_name(node, index) in net.tensors


def _with_constant(node: onnx_ir.Node, net: GraphBuilder) -> tuple[Tensor, Vector, bool]:
    """The feature map, the other operand as one number per channel, and whether that is the second operand."""
    index = 0 if _is_map(node, net, 0) else 1
    x = net.feature(node, index)
    return x, per_channel(x, weights(node, 1 - index)), index == 0
