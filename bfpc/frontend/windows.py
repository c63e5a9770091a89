"""The attributes that sliding windows share, of 2-D and 1-D operators: a 1-D map has height 1 (or width 1)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import NO_PADS, Pads, Pair


def along_map(node: onnx_ir.Node, attribute: str, x: Tensor, default: Sequence[int] | None = None) -> Pair:
    """An attribute of one integer per spatial axis of `x`, as (vertical, horizontal); 1 where it is absent."""
    given = node.attributes.get_ints(attribute) or default or [1] * (len(x.axes) - 2)
    return both_axes(x, given, 1)


def both_axes(x: Tensor, given: Sequence[int], absent: int) -> Pair:
    """Numbers for the spatial axes of `x`, which is laid out (N, C, H, W), (N, C, W) or (N, C, H), as a pair."""
    if len(given) != len(x.axes) - 2:
        raise Unsupported(f"it has {len(given)} spatial axes, its input {len(x.axes) - 2}", "export the network again")
    numbers = dict(zip(x.axes[2:], map(int, given), strict=True))
    return numbers.get("H", absent), numbers.get("W", absent)


def explicit_pads(node: onnx_ir.Node, x: Tensor) -> Pads:
    given = node.attributes.get_ints("pads") or [0] * 2 * (len(x.axes) - 2)
    rank = len(given) // 2
    return join_pads(both_axes(x, given[:rank], 0), both_axes(x, given[rank:], 0))


def join_pads(before: Sequence[int], after: Sequence[int]) -> Pads:
    return before[0], before[1], after[0], after[1]


def auto_pad(node: onnx_ir.Node) -> str:
    mode = node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET"
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad is {mode}", "use explicit pads")
    return mode


def resolve_pads(node: onnx_ir.Node, x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """The pads (top, left, bottom, right) that `pads` and `auto_pad` ask for."""
    mode = auto_pad(node)
    if mode == "VALID":
        return NO_PADS
    if mode == "NOTSET":
        return explicit_pads(node, x)
    totals = [_same(*sizes) for sizes in zip(x.map_shape[1:], kernel, stride, dilation, strict=True)]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return join_pads(small, large) if mode == "SAME_UPPER" else join_pads(large, small)


def _same(size: int, kernel: int, stride: int, dilation: int) -> int:
    """The padding along one axis that gives ceil(size / stride) outputs."""
    return max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
