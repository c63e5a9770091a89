"""Concat, Pad and Slice."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, constant, has_input, integers, number
from bfpc.frontend.tensor import Tensor, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Concat, Pad, Slice


def import_concat(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    maps = [net.feature(node, index) for index in range(len(node.inputs))]
    if len(maps) == 1:
        return maps[0]
    axis = (node.attributes.get_int("axis", 1) or 0) % len(maps[0].axes)
    maps = [_with_channels_at(x, axis) for x in maps]
    if len({(x.layout, x.map_shape) for x in _same_channels(maps)}) > 1:
        layouts = " and ".join(sorted({show(x.axes) for x in maps}))
        raise Unsupported(f"its inputs are laid out differently: {layouts}", "transpose or flatten all in the same way")
    return net.emit(node, Concat(), {f"x{index}": x.value for index, x in enumerate(maps)}, maps[0].axes)


def _with_channels_at(x: Tensor, axis: int) -> Tensor:
    """The tensor with its channels at an ONNX axis: a single channel may be any axis of size 1."""
    if x.layout[axis] not in ("C", "") or (x.layout[axis] == "" and x.map_shape[0] > 1):
        raise Unsupported(f"it joins axis {axis} of {show(x.axes)}", "join channels only")
    axes = ["C" if index == axis else group.replace("C", "") for index, group in enumerate(x.axes)]
    return replace(x, axes=tuple(axes))


def _same_channels(maps: list[Tensor]) -> list[Tensor]:
    """The tensors as if all had two channels, so that a single channel's axis counts in their layouts."""
    return [replace(x, map_shape=(2, *x.map_shape[1:])) for x in maps]


def import_pad(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    mode = node.attributes.get_string("mode", "constant")
    if mode != "constant" or number(node, "value", 2, 0.0) != 0:
        raise Unsupported(f"it pads in mode {mode}, or not with 0", "pad with the constant 0")
    given = integers(node, "pads", 1) or []
    axes = [int(axis) for axis in constant(node, 3).ravel()] if has_input(node, 3) else range(len(given) // 2)
    sizes = {"N": (0, 0), "C": (0, 0), "H": (0, 0), "W": (0, 0)}
    for index, axis in enumerate(axes):
        before_after = given[index], given[index + len(given) // 2]
        if any(before_after):
            sizes[_single_axis(x, axis, "pads")] = before_after
    if any(sizes["N"]) or min(sizes["C"]) < 0:
        raise Unsupported("it pads the batch, or crops channels", "pad maps only; crop channels with Slice")
    (top, bottom), (left, right) = sizes["H"], sizes["W"]
    op = Pad((top, left, bottom, right), sizes["C"])
    return x if op == Pad() else net.emit(node, op, {"x": x.value}, x.axes)


def import_slice(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    starts, stops = integers(node, "starts", 1) or [], integers(node, "ends", 2) or []
    axes = integers(node, "axes", 3) or list(range(len(starts)))
    steps = integers(node, "steps", 4) or [1] * len(starts)
    if min(steps) < 1:
        raise Unsupported(f"its steps are {steps}", "use positive steps")
    bounds = {letter: (0, x.size(letter), 1) for letter in "NCHW"}
    for start, stop, step, axis in zip(starts, stops, steps, axes, strict=True):
        taken = slice(start, stop, step).indices(x.shape[axis])
        if taken != (0, x.shape[axis], 1):
            bounds[_single_axis(x, axis, "slices")] = taken
    if bounds.pop("N") != (0, x.batch, 1):
        raise Unsupported("it slices the batch", "slice maps only")
    if all(taken == (0, x.size(letter), 1) for letter, taken in bounds.items()):
        return x
    channels, rows, columns = bounds["C"], bounds["H"], bounds["W"]
    op = Slice(*zip(channels, rows, columns, strict=True))
    return net.emit(node, op, {"x": x.value}, x.axes)


def _single_axis(x: Tensor, axis: int, verb: str) -> str:
    """The map's axis that an ONNX axis is."""
    group = x.layout[axis] or x.axes[axis]
    if len(group) != 1:
        raise Unsupported(f"it {verb} axis {axis} of {show(x.axes)}", "do it before the map is flattened")
    return group
