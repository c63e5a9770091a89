"""Concat and Pad."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, constant, has_input, integers, number
from bfpc.frontend.tensor import Tensor, named, show, single_axis
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import NO_PADS, Concat, Pad, PadMode, Pads


def import_concat(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    views = [net.view(node, index) for index in range(len(node.inputs))]
    if len(views) == 1:
        return views[0]
    axis = (node.attributes.get_int("axis", 1) or 0) % len(views[0].axes)
    for x in views:
        if set(x.layout[axis]) & {"N", "H", "W"}:
            raise _joins_others(x, axis)
    maps = [net.feature(node, index) for index in range(len(node.inputs))]
    maps = [_with_channels_at(x, axis) for x in maps]
    if len({(x.layout, x.map_shape) for x in _same_channels(maps)}) > 1:
        layouts = " and ".join(sorted({show(x.axes) for x in maps}))
        raise Unsupported(f"its inputs are laid out differently: {layouts}", "transpose or flatten all in the same way")
    return net.emit(node, Concat(), {f"x{index}": x.value for index, x in enumerate(maps)}, maps[0].axes)


def _joins_others(x: Tensor, axis: int) -> Unsupported:
    what = "images" if "N" in x.axes[axis] else "positions"
    reason = f"it joins {what}, not channels: axis {axis} of {show(x.axes)}"
    return Unsupported(reason, "nothing: the host only copies")


def _with_channels_at(x: Tensor, axis: int) -> Tensor:
    """The tensor with its channels at an ONNX axis: a single channel may be any axis of size 1."""
    if x.layout[axis] not in ("C", "") or (x.layout[axis] == "" and x.map_shape[0] > 1):
        raise _joins_others(x, axis)
    axes = ["C" if index == axis else group.replace("C", "") for index, group in enumerate(x.axes)]
    return replace(x, axes=tuple(axes))


def _same_channels(maps: list[Tensor]) -> list[Tensor]:
    """The tensors as if all had two channels, so that a single channel's axis counts in their layouts."""
    return [replace(x, map_shape=(2, *x.map_shape[1:])) for x in maps]


def import_pad(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = named(net.feature(node))
    given = integers(node, "pads", 1) or []
    axes = [int(axis) for axis in constant(node, 3).ravel()] if has_input(node, 3) else range(len(given) // 2)
    sizes = {"N": (0, 0), "C": (0, 0), "H": (0, 0), "W": (0, 0)}
    for index, axis in enumerate(axes):
        before_after = given[index], given[index + len(given) // 2]
        if any(before_after):
            sizes[single_axis(x, axis, "pads")] = before_after
    if any(sizes["N"]) or min(sizes["C"]) < 0:
        raise Unsupported("it pads the batch, or crops channels", "pad maps only; crop channels with Slice")
    mode, value = _pad_mode(node), number(node, "value", 2, 0.0)
    if not math.isfinite(value):
        raise Unsupported(
            f"it pads with {value}", "pad with a number; the pads of a MaxPool take no part in its maxima"
        )
    if any(sizes["C"]) and (mode, value) != ("zero", 0.0):
        raise Unsupported("it adds channels that aren't 0", "add channels of zeros, or join constants on the host")
    (top, bottom), (left, right) = sizes["H"], sizes["W"]
    if mode == "reflect" and (max(top, bottom) >= x.size("H") or max(left, right) >= x.size("W")):
        raise Unsupported("it reflects more than the map holds", "pad less than the map's height and width")
    pads: Pads = (top, left, bottom, right)
    if pads == NO_PADS and not any(sizes["C"]):
        return x
    return net.emit(node, Pad(pads, sizes["C"], mode, value if mode == "zero" else 0.0), {"x": x.value}, x.axes)


def _pad_mode(node: onnx_ir.Node) -> PadMode:
    modes: dict[str, PadMode] = {"constant": "zero", "edge": "edge", "reflect": "reflect"}
    given = node.attributes.get_string("mode", "constant") or "constant"
    if given not in modes:
        raise Unsupported(f"it pads in mode {given}", "pad with a constant, the edge or a reflection")
    return modes[given]
