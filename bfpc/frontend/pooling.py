"""Pooling over windows and over whole maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, has_second_output, integers, pair
from bfpc.frontend.convolution import resolve_pads
from bfpc.frontend.tensor import CHANNELS_FIRST, Tensor, require_channels_first, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Pads, Pair, Pool, Window

Kind = Literal["max", "average"]


def import_pool(kind: Kind) -> Callable[[onnx_ir.Node, GraphBuilder], Tensor]:
    """The importer of MaxPool or AveragePool."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x = require_channels_first(net.feature(node))
        if has_second_output(node):
            raise Unsupported("its second output, the indices, is used", "the accelerator makes the maxima only")
        if pair(node, "dilations") != (1, 1):
            raise Unsupported("its window is dilated", "use a dense window")
        return net.emit(node, Pool(_window(node, x, kind)), {"x": x.value})

    return importer


def import_global_pool(kind: Kind) -> Callable[[onnx_ir.Node, GraphBuilder], Tensor]:
    """The importer of GlobalMaxPool or GlobalAveragePool."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x = require_channels_first(net.feature(node))
        return _pool_axes(node, net, x, kind, "HW", CHANNELS_FIRST)

    return importer


def import_reduce(kind: Kind) -> Callable[[onnx_ir.Node, GraphBuilder], Tensor]:
    """The importer of ReduceMax or ReduceMean over the map's height and width, wherever they stand."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x = net.feature(node)
        rank = len(x.axes)
        given = integers(node, "axes", 1)
        if not given and node.attributes.get_int("noop_with_empty_axes", 0) == 1:
            return x
        reduced = {axis % rank for axis in given or range(rank)}
        letters = "".join(x.layout[axis] for axis in sorted(reduced))
        if not set(letters) <= {"H", "W"}:
            raise Unsupported(
                f"it reduces over {sorted(reduced)} of {show(x.axes)}", "reduce over height and width only"
            )
        keep = node.attributes.get_int("keepdims", 1)
        axes = tuple("" if axis in reduced else x.axes[axis] for axis in range(rank) if keep or axis not in reduced)
        return _pool_axes(node, net, x, kind, letters, axes)

    return importer


def _pool_axes(node: onnx_ir.Node, net: GraphBuilder, x: Tensor, kind: Kind, letters: str, axes: Axes) -> Tensor:
    """Pools over the whole of the map's axes `letters`."""
    kernel = (x.size("H") if "H" in letters else 1, x.size("W") if "W" in letters else 1)
    if kernel == (1, 1):
        return replace(x, axes=axes)
    return net.emit(node, Pool(Window(kind, kernel, stride=kernel)), {"x": x.value}, axes)


def _window(node: onnx_ir.Node, x: Tensor, kind: Kind) -> Window:
    kernel, stride = pair(node, "kernel_shape"), pair(node, "strides")
    pads = resolve_pads(node, x, kernel, stride, (1, 1))
    count_padding = kind == "average" and bool(node.attributes.get_int("count_include_pad", 0))
    if any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True)):
        raise Unsupported(f"its pads {pads} reach the size of its window {kernel}", "use smaller pads")
    if node.attributes.get_int("ceil_mode", 0):
        extra = _ceil_mode_pads(x, kernel, stride, pads)
        if any(extra) and count_padding:
            raise Unsupported("ceil_mode and count_include_pad make windows of different counts", "use one of the two")
        pads = (pads[0], pads[1], pads[2] + extra[0], pads[3] + extra[1])
    return Window(kind, kernel, stride, pads, count_padding)


def _ceil_mode_pads(x: Tensor, kernel: Pair, stride: Pair, pads: Pads) -> Pair:
    """How much further down and right the windows reach in ceil_mode, which drops those that begin in the padding."""
    return (
        _ceil_mode_pad(x.size("H"), kernel[0], stride[0], pads[0], pads[2]),
        _ceil_mode_pad(x.size("W"), kernel[1], stride[1], pads[1], pads[3]),
    )


def _ceil_mode_pad(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    last = -(-(size + before + after - kernel) // stride)
    if last * stride >= size + before:
        last -= 1
    return max(last * stride + kernel - (size + before + after), 0)
