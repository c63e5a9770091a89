"""Layers of the accelerator in PyTorch: what the array sums, and the tail after it, on real numbers.

Maps are [batch, channels, height, width]. See `ir.operators` for what the operators mean; nothing is quantized here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bfpc.ir.operators import Conv, Depthwise, PadMode, Pads, Pair, Pass, Tail, Window
from bfpc.numerics.functions import Step

MODES: Mapping[PadMode, str] = {"zero": "constant", "edge": "replicate", "reflect": "reflect"}
Function = Callable[[Tensor], Tensor]


def convolve(x: Tensor, op: Conv | Depthwise, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What the array of a weighted layer makes, with its bias."""
    groups = op.groups if isinstance(op, Conv) else len(weight)
    x, (top, left, bottom, right) = _spread(x, op)
    even = (top, left) == (bottom, right) and min(top, left) >= 0
    padding = (top, left) if even else (0, 0)
    x = x if even else functional.pad(x, (left, right, top, bottom))  # crops where negative
    return functional.conv2d(x, weight, bias, op.stride, padding, op.dilation, groups)


def _spread(x: Tensor, op: Conv | Depthwise) -> tuple[Tensor, Pads]:
    """The map with zeros between its positions and what isn't zero around them, and the pads that are left."""
    (rows, columns), (top, left, bottom, right) = op.input_dilation, op.pads
    if op.pad_mode != "zero":
        whole = [max(0, -(-side // step)) for side, step in zip(op.pads, op.input_dilation * 2, strict=True)]
        x = pad_map(x, (whole[0], whole[1], whole[2], whole[3]), op.pad_mode)
        top, bottom = top - whole[0] * rows, bottom - whole[2] * rows
        left, right = left - whole[1] * columns, right - whole[3] * columns
    if op.input_dilation != (1, 1):
        spread = x.new_zeros(*x.shape[:2], (x.shape[2] - 1) * rows + 1, (x.shape[3] - 1) * columns + 1)
        spread[:, :, ::rows, ::columns] = x
        x = spread
    return x, (top, left, bottom, right)


def pad_map(x: Tensor, pads: Pads, mode: PadMode = "zero", value: float = 0.0) -> Tensor:
    """The map with positions around it, then cropped where pads are negative; `value` is what mode "zero" pads with."""
    top, left, bottom, right = (max(pad, 0) for pad in pads)
    if any((top, left, bottom, right)):
        x = functional.pad(x, (left, right, top, bottom), MODES[mode], *([value] if mode == "zero" else []))
    top, left, bottom, right = (min(pad, 0) for pad in pads)
    return functional.pad(x, (left, right, top, bottom)) if any((top, left, bottom, right)) else x


def hand_on(x: Tensor, op: Pass, pad_value: float, size: Pair) -> Tensor:
    """The positions that a Pass hands to its tail, a map of height and width `size`."""
    rows, columns = op.input_dilation
    top, left, bottom, right = (pad // step for pad, step in zip(op.pads, op.input_dilation * 2, strict=True))
    x = pad_map(x, (top, left, bottom, right), op.pad_mode, pad_value)[:, :, :: op.stride[0], :: op.stride[1]]
    if op.input_dilation == (1, 1):
        return x
    x = x.repeat_interleave(rows, 2).repeat_interleave(columns, 3)
    above, beside = rows - 1 - op.pads[0] % rows, columns - 1 - op.pads[1] % columns
    return x[:, :, above : above + size[0], beside : beside + size[1]]


@dataclass(frozen=True, eq=False)
class TailNumbers:
    """The numbers of a tail: the bounds of its Clip, slopes [channels, 1, 1] of its PRelu, its PositionScale's numbers
    [height, 1] or [1, width], its Table's function, and what an average multiplies its sums by [height, width].
    """

    bounds: tuple[float | Tensor, float | Tensor] | None = None
    slope: Tensor | None = None
    scales: Tensor | None = None
    function: Function | None = None
    ratios: Tensor | None = None


def apply_tail(tail: Tail, x: Tensor, residual: Tensor | None, numbers: TailNumbers) -> Tensor:
    """Residual, activation and pooling."""
    if residual is not None:
        x = JOINS[tail.residual](x, residual)
    if numbers.bounds is not None:
        x = _clipped(x, *numbers.bounds)
    if numbers.slope is not None:
        x = torch.where(x >= 0, x, x * numbers.slope)
    if numbers.scales is not None:
        x = x * numbers.scales
    if numbers.function is not None:
        x = numbers.function(x)
    return x if tail.pool is None else _pooled(x, tail.pool, numbers.ratios)


JOINS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
}


def _clipped(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    if not isinstance(low, Tensor) and low == 0 and not isinstance(high, Tensor) and high == math.inf:
        return torch.relu(x)
    return torch.clamp(x, _like(x, low), _like(x, high))


def _like(x: Tensor, number: float | Tensor) -> Tensor:
    return torch.as_tensor(number, dtype=x.dtype, device=x.device)


def _pooled(x: Tensor, window: Window, ratios: Tensor | None) -> Tensor:
    if window.kind == "max":
        return functional.max_pool2d(pad_map(x, window.pads, value=-math.inf), window.kernel, window.stride)
    padded = pad_map(x, window.pads)
    assert ratios is not None, "an average has its ratios"
    if window.kernel == tuple(padded.shape[2:]):
        return padded.sum(dim=(2, 3), keepdim=True) * ratios
    return functional.avg_pool2d(padded, window.kernel, window.stride, divisor_override=1) * ratios


def compose(steps: tuple[Step, ...], *, gated: bool) -> Function:
    """The function that `numerics.functions.apply_steps` computes."""

    def function(x: Tensor) -> Tensor:
        y = x
        for name, *parameters in steps:
            y = FUNCTIONS[str(name)](y, *map(float, parameters))
        return y * x if gated else y

    return function


def _polynomial(x: Tensor, *coefficients: float) -> Tensor:
    y = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        y = y * x + coefficient
    return y


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {  # those of numerics.functions
    "affine": lambda x, scale, shift: x * scale + shift,
    "clip": lambda x, low, high: x.clamp(low, high),
    "elu": lambda x, alpha=1.0: functional.elu(x, alpha),
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
    "polynomial": _polynomial,
    "power": torch.pow,
    "reciprocal": torch.reciprocal,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
}
