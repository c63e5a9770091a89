"""The operators of the graph, as frozen dataclasses.

Feature maps are (channels, height, width) of one image. A pair of numbers is (vertical, horizontal); pads are
(top, left, bottom, right), where a negative number crops. `INPUTS` names an operator's inputs in order; those that
end in `?` are optional, and one that ends in `*` takes any number.

The frontend makes all but `Depthwise` and `Pass`. The passes leave the layers, `Conv`, `Depthwise` and `Pass`, each of
which ends in a `Tail`, and `Concat`, which is addressing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


def window_output_size(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Pair:
    """Height and width of what a sliding window makes of a map of `size`."""
    padded = (size[0] + pads[0] + pads[2], size[1] + pads[1] + pads[3])
    spans = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    return (padded[0] - spans[0]) // stride[0] + 1, (padded[1] - spans[1]) // stride[1] + 1


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high). Relu is `Clip()`."""

    low: float = 0.0
    high: float = math.inf


@dataclass(frozen=True)
class PRelu:
    """x where x >= 0, else x times the channel's slope (the input `slope`). LeakyRelu has one slope for all."""


Activation = Clip | PRelu


@dataclass(frozen=True)
class Window:
    """A pooling window. Padded positions take no part, except that `count_padding` counts them in an average."""

    kind: Literal["max", "average"]
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    count_padding: bool = False

    def output_size(self, size: Pair) -> Pair:
        return window_output_size(size, self.kernel, self.stride, self.pads)


@dataclass(frozen=True)
class Tail:
    """What a layer does after its array: bias, then `residual` is added, then activation, then pooling."""

    activation: Activation | None = None
    pool: Window | None = None


@dataclass(frozen=True)
class Conv:
    """Convolution; weight [output channels, input channels / groups, kernel height, kernel width], bias [channels]."""

    INPUTS: ClassVar = ("x", "weight", "bias?", "residual?", "slope?")
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    dilation: Pair = (1, 1)
    groups: int = 1
    tail: Tail = field(default_factory=Tail)


@dataclass(frozen=True)
class Depthwise:
    """Convolution of each channel by itself; weight [channels, 1, kernel height, kernel width], bias [channels]."""

    INPUTS: ClassVar = ("x", "weight", "bias?", "residual?", "slope?")
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    dilation: Pair = (1, 1)
    tail: Tail = field(default_factory=Tail)


@dataclass(frozen=True)
class Pass:
    """Hands every `stride`-th position of the (padded or cropped) map to the tail, without arithmetic."""

    INPUTS: ClassVar = ("x", "residual?", "slope?")
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    tail: Tail = field(default_factory=Tail)
    kernel: ClassVar[Pair] = (1, 1)
    dilation: ClassVar[Pair] = (1, 1)


@dataclass(frozen=True)
class Concat:
    """Joins maps of one size along their channels."""

    INPUTS: ClassVar = ("x*",)


@dataclass(frozen=True)
class Scale:
    """x * scale + bias per channel; scale and bias [channels]."""

    INPUTS: ClassVar = ("x", "scale", "bias")


@dataclass(frozen=True)
class Activate:
    """An activation by itself."""

    INPUTS: ClassVar = ("x", "slope?")
    activation: Activation


@dataclass(frozen=True)
class Add:
    """Sum of two maps of one shape."""

    INPUTS: ClassVar = ("x", "residual")


@dataclass(frozen=True)
class Pool:
    """Pooling by itself."""

    INPUTS: ClassVar = ("x",)
    window: Window


@dataclass(frozen=True)
class Pad:
    """Zeros around the map (`pads`) and before and after its channels (`channels`)."""

    INPUTS: ClassVar = ("x",)
    pads: Pads = NO_PADS
    channels: Pair = (0, 0)


@dataclass(frozen=True)
class Slice:
    """x[start : stop : step] for channels, height and width; steps are positive."""

    INPUTS: ClassVar = ("x",)
    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    step: tuple[int, int, int] = (1, 1, 1)


Layer = Conv | Depthwise | Pass
Operator = Layer | Concat | Scale | Activate | Add | Pool | Pad | Slice
