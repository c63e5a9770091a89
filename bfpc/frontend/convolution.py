"""Conv and ConvTranspose.

A 1-D convolution is one on maps of height 1. A transposed convolution is an ordinary one that reads its map with zeros
between the positions, its filter turned around.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, has_input, weights
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.frontend.windows import along_map, auto_pad, both_axes, explicit_pads, join_pads, resolve_pads
from bfpc.ir.layout import Axes
from bfpc.ir.operators import Conv, Pads, Pair

Filter = NDArray[np.float32]


def import_conv(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    given, groups = weights(node, 1), _groups(node)
    _check_weights(node, given.shape, groups, x)
    if _is_pointwise(node, given.shape, x):
        x = replace(x, axes=_channels_second(x.axes))
        op, weight = Conv((1, 1), groups=groups), given.reshape(*given.shape[:2], 1, 1)
    else:
        x = net.map(node)
        weight = _two_dimensional(given, x)
        kernel: Pair = weight.shape[2], weight.shape[3]
        stride, dilation = along_map(node, "strides", x), along_map(node, "dilations", x)
        op = Conv(kernel, stride, resolve_pads(node, x, kernel, stride, dilation), dilation, groups)
    inputs = {"x": x.value, "weight": net.keep(node, 1, weight), **_bias(node, net, len(weight))}
    return net.emit(node, op, inputs, x.axes)


def import_conv_transpose(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.map(node)
    given, groups = weights(node, 1), _groups(node)
    if given.ndim != len(x.axes) or given.shape[0] != x.map_shape[0] or given.shape[0] % groups:
        reason = f"its weights {list(given.shape)} in {groups} groups don't fit {x.map_shape[0]} channels"
        raise Unsupported(reason, "export the network again")
    stride = along_map(node, "strides", x)
    turned = _turned_around(_two_dimensional(given, x), groups, along_map(node, "dilations", x))
    span: Pair = turned.shape[2], turned.shape[3]
    top, left, bottom, right = _cropped(node, x, span, stride)
    # a filter smaller than the stride ends in zeros: some outputs see no position of the map, only the bias
    more = max(stride[0] - span[0], 0), max(stride[1] - span[1], 0)
    weight = np.pad(turned, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))
    pads = (span[0] - 1 - top, span[1] - 1 - left, span[0] - 1 - bottom + more[0], span[1] - 1 - right + more[1])
    op = Conv((weight.shape[2], weight.shape[3]), pads=pads, groups=groups, input_dilation=stride)
    inputs = {"x": x.value, "weight": net.keep(node, 1, weight), **_bias(node, net, len(weight))}
    return net.emit(node, op, inputs, x.axes)


def _groups(node: onnx_ir.Node) -> int:
    return node.attributes.get_int("group", 1) or 1


def _check_weights(node: onnx_ir.Node, shape: tuple[int, ...], groups: int, x: Tensor) -> None:
    """ONNX's shape inference doesn't look at a convolution's channels."""
    channels = x.map_shape[0]
    if len(shape) < 3 or shape[1] * groups != channels or shape[0] % groups:
        reason = f"its weights {list(shape)} in {groups} groups don't fit {channels} channels"
        raise Unsupported(reason, "export the network again")
    if tuple(node.attributes.get_ints("kernel_shape") or shape[2:]) != shape[2:]:
        raise Unsupported(f"its weights {list(shape)} don't fit its kernel_shape", "export the network again")


def _is_pointwise(node: onnx_ir.Node, shape: tuple[int, ...], x: Tensor) -> bool:
    """Whether every position is seen by itself, so that their order doesn't matter: [N, C, H * W] will do."""
    moves = any(node.attributes.get_ints("pads") or ()) or set(node.attributes.get_ints("strides") or ()) - {1}
    auto_pad(node)  # raises Unsupported for unknown modes; all of the others leave a single tap where it is
    alone = x.layout[1] == ("C" if x.map_shape[0] > 1 else "") and "C" not in x.axes[0]
    return len(shape) == len(x.axes) and set(shape[2:]) == {1} and not moves and alone


def _channels_second(axes: Axes) -> Axes:
    """The same axes, except that a single channel, which may stand anywhere or be missing, stands at the second."""
    return axes[0], "C", *(group.replace("C", "") for group in axes[2:])


def _two_dimensional(weight: Filter, x: Tensor) -> Filter:
    """Weights with (vertical, horizontal) taps, also of a 1-D convolution."""
    return weight.reshape(*weight.shape[:2], *both_axes(x, weight.shape[2:], 1))


def _bias(node: onnx_ir.Node, net: GraphBuilder, outputs: int) -> dict[str, str]:
    if not has_input(node, 2):
        return {}
    bias = weights(node, 2)
    if bias.shape != (outputs,):
        raise Unsupported(f"its bias {list(bias.shape)} doesn't fit {outputs} outputs", "export the network again")
    return {"bias": net.keep(node, 2, bias)}


def _turned_around(weight: Filter, groups: int, dilation: Pair) -> Filter:
    """The filter [inputs, outputs / groups, ...] of a transposed convolution as that of an ordinary one, dense."""
    inputs, outputs, *kernel = weight.shape
    by_group = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    dense = np.zeros((groups * outputs, inputs // groups, *_span(kernel, dilation)), np.float32)
    dense[:, :, :: dilation[0], :: dilation[1]] = by_group.reshape(groups * outputs, inputs // groups, *kernel)
    return np.ascontiguousarray(dense[:, :, ::-1, ::-1])


def _span(kernel: list[int], dilation: Pair) -> list[int]:
    return [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]


def _cropped(node: onnx_ir.Node, x: Tensor, span: Pair, stride: Pair) -> Pads:
    """What a transposed convolution leaves away around its full output; negative where it adds."""
    extra = both_axes(x, node.attributes.get_ints("output_padding") or [0] * (len(x.axes) - 2), 0)
    mode, wanted = auto_pad(node), node.attributes.get_ints("output_shape")
    top, left, bottom, right = explicit_pads(node, x)
    if wanted is None and mode in ("NOTSET", "VALID"):
        return top, left, bottom - extra[0], right - extra[1]
    full = [(x.map_shape[1 + axis] - 1) * stride[axis] + span[axis] + extra[axis] for axis in (0, 1)]
    same = (x.map_shape[1] * stride[0], x.map_shape[2] * stride[1])
    target = same if wanted is None else both_axes(x, wanted[-(len(x.axes) - 2) :], 1)
    totals = [size - kept for size, kept in zip(full, target, strict=True)]
    if min(totals) < 0:
        raise Unsupported(f"its output_shape {list(target)} is larger than what it makes, {full}", "use pads instead")
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    return join_pads(before, (after[0] - extra[0], after[1] - extra[1]))
