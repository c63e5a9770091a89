"""Conv, and the padding rules that it shares with pooling."""

from __future__ import annotations

import onnx_ir

from bfpc.frontend.builder import GraphBuilder, has_input, pair, weights
from bfpc.frontend.tensor import Tensor, require_channels_first
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import NO_PADS, Conv, Pads, Pair


def import_conv(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = require_channels_first(net.feature(node))
    weight = weights(node, 1)
    groups = node.attributes.get_int("group", 1) or 1
    _check_weights(node, weight.shape, groups, x.map_shape[0])
    kernel = (weight.shape[2], weight.shape[3])
    stride, dilation = pair(node, "strides"), pair(node, "dilations")
    op = Conv(kernel, stride, resolve_pads(node, x, kernel, stride, dilation), dilation, groups)
    inputs = {"x": x.value, "weight": net.keep(node, 1, weight)}
    if has_input(node, 2):
        bias = weights(node, 2)
        if bias.shape != weight.shape[:1]:
            raise Unsupported(
                f"its bias {list(bias.shape)} doesn't fit {len(weight)} outputs", "export the network again"
            )
        inputs["bias"] = net.keep(node, 2, bias)
    return net.emit(node, op, inputs)


def _check_weights(node: onnx_ir.Node, shape: tuple[int, ...], groups: int, channels: int) -> None:
    """ONNX's shape inference doesn't look at a convolution's channels."""
    if len(shape) != 4 or shape[1] * groups != channels or shape[0] % groups:
        reason = f"its weights {list(shape)} in {groups} groups don't fit {channels} channels"
        raise Unsupported(reason, "export the network again")
    if pair(node, "kernel_shape", (shape[2], shape[3])) != shape[2:]:
        raise Unsupported(f"its weights {list(shape)} don't fit its kernel_shape", "export the network again")


def resolve_pads(node: onnx_ir.Node, x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """The pads (top, left, bottom, right) that `pads` and `auto_pad` ask for."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "VALID":
        return NO_PADS
    if mode == "NOTSET":
        top, left, bottom, right = node.attributes.get_ints("pads") or NO_PADS
        return int(top), int(left), int(bottom), int(right)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad is {mode}", "use explicit pads")
    totals = [_same(*sizes) for sizes in zip(x.map_shape[1:], kernel, stride, dilation, strict=True)]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    return before[0], before[1], after[0], after[1]


def _same(size: int, kernel: int, stride: int, dilation: int) -> int:
    """The padding along one axis that gives ceil(size / stride) outputs."""
    return max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
