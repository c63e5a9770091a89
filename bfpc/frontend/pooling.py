"""Pooling over windows and over whole maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, Importer, has_second_output
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.frontend.windows import along_map, resolve_pads
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Pad, Pair, Pool, Window

Kind = Literal["max", "average"]


def import_pool(kind: Kind) -> Importer:
    """The importer of MaxPool or AveragePool."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x = net.map(node)
        if has_second_output(node):
            raise Unsupported("its second output, the indices, is used", "the accelerator makes the maxima only")
        if along_map(node, "dilations", x) != (1, 1):
            raise Unsupported("its window is dilated", "use a dense window")
        window = _window(node, x, kind)
        extra = _ceil_mode_pads(x, window) if node.attributes.get_int("ceil_mode", 0) else (0, 0)
        if any(extra) and window.count_padding:  # zeros that count, then further ones that don't
            padded = net.emit(node, Pad(window.pads), {"x": x.value}, x.axes, role="padded")
            op = Pool(replace(window, pads=(0, 0, *extra), count_padding=False))
            return net.emit(node, op, {"x": padded.value}, x.axes)
        top, left, bottom, right = window.pads
        op = Pool(replace(window, pads=(top, left, bottom + extra[0], right + extra[1])))
        return net.emit(node, op, {"x": x.value}, x.axes)

    return importer


def import_global_pool(kind: Kind) -> Importer:
    """The importer of GlobalMaxPool or GlobalAveragePool."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x = net.map(node)
        return pool_axes(node, net, x, kind, "HW", x.axes)

    return importer


def pool_axes(
    node: onnx_ir.Node, net: GraphBuilder, x: Tensor, kind: Kind, letters: str, axes: Axes, role: str = ""
) -> Tensor:
    """Pools over the whole of the map's axes `letters`; the result is laid out as `axes`."""
    kernel = (x.size("H") if "H" in letters else 1, x.size("W") if "W" in letters else 1)
    if kernel == (1, 1):
        return replace(x, axes=axes)
    return net.emit(node, Pool(Window(kind, kernel, stride=kernel)), {"x": x.value}, axes, role=role)


def _window(node: onnx_ir.Node, x: Tensor, kind: Kind) -> Window:
    kernel, stride = along_map(node, "kernel_shape", x), along_map(node, "strides", x)
    pads = resolve_pads(node, x, kernel, stride, (1, 1))
    if any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True)):
        raise Unsupported(f"its pads {pads} reach the size of its window {kernel}", "use smaller pads")
    count_padding = kind == "average" and bool(node.attributes.get_int("count_include_pad", 0))
    return Window(kind, kernel, stride, pads, count_padding)


def _ceil_mode_pads(x: Tensor, window: Window) -> Pair:
    """How much further down and right the windows reach in ceil_mode, which drops those that begin in the padding."""
    (height, width), (rows, columns), pads = window.kernel, window.stride, window.pads
    return (
        _ceil_mode_pad(x.size("H"), height, rows, pads[0], pads[2]),
        _ceil_mode_pad(x.size("W"), width, columns, pads[1], pads[3]),
    )


def _ceil_mode_pad(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    last = -(-(size + before + after - kernel) // stride)
    if last * stride >= size + before:
        last -= 1
    return max(last * stride + kernel - (size + before + after), 0)
