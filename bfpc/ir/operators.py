"""The operators of the graph, as frozen dataclasses.

Feature maps are (channels, height, width) of one image. A pair of numbers is (vertical, horizontal); pads are
(top, left, bottom, right), where a negative number crops. `INPUTS` names an operator's inputs in order; those that
end in `?` are optional, and one that ends in `*` takes any number.

The frontend makes `Conv`, `Pass`, `Concat` and the operators below them. The passes leave the layers, `Conv`,
`Depthwise` and `Pass`, each of which ends in a `Tail`, and `Concat` and `Channels`, which are addressing.

A layer reads its map as if `input_dilation - 1` zeros stood between neighbouring positions (which no hardware ever
multiplies), with `pads` around that. So a transposed convolution of stride s, kernel k and pads p is a convolution with
`input_dilation` s, pads k - 1 - p and its filter turned around. Beyond the map a layer finds zeros, or what `pad_mode`
says. `stride` and `dilation` are 1 where `input_dilation` isn't.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

from bfpc.numerics.functions import Step

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
PadMode = Literal["zero", "edge", "reflect"]
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


@dataclass(frozen=True)
class Table:
    """A function of one number, read from a table of 4096 entries over the domain [low, high].

    steps: elementary functions of `numerics.functions`, the innermost first, each with its parameters, such as
    `(("affine", 0.5, 0.0), ("tanh",))`. gated: whether x is multiplied by the result, as SiLU does with the sigmoid.
    domain: what calibration found the function applied to; None before.
    """

    steps: tuple[Step, ...]
    gated: bool = False
    domain: tuple[float, float] | None = None


@dataclass(frozen=True)
class PositionScale:
    """x times the number of its row, or of its column (the input `table`, from 0 to 1, one for each)."""

    axis: Literal["row", "column"]


Activation = Clip | PRelu | Table | PositionScale


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
    """What a layer does after its array: bias, then `residual` is added (or so), then activation, then pooling.

    The residual map may be a single position, which then meets every position.
    """

    activation: Activation | None = None
    pool: Window | None = None
    residual: Literal["add", "subtract", "multiply"] = "add"


@dataclass(frozen=True)
class Conv:
    """Convolution; weight [output channels, input channels / groups, kernel height, kernel width], bias [channels].

    streams: the accelerator hands the map to the depthwise layer or pass behind as it is made, and never stores it.
    """

    INPUTS: ClassVar = ("x", "weight", "bias?", "residual?", "slope?", "table?")
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    dilation: Pair = (1, 1)
    groups: int = 1
    input_dilation: Pair = (1, 1)
    pad_mode: PadMode = "zero"
    tail: Tail = field(default_factory=Tail)
    streams: bool = False

    def depthwise(self) -> Depthwise:
        """The same where every group has one channel."""
        return Depthwise(**{each.name: getattr(self, each.name) for each in fields(Depthwise)})


@dataclass(frozen=True)
class Depthwise:
    """Convolution of each channel by itself; weight [channels, 1, kernel height, kernel width], bias [channels]."""

    INPUTS: ClassVar = ("x", "weight", "bias?", "residual?", "slope?", "table?")
    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    dilation: Pair = (1, 1)
    input_dilation: Pair = (1, 1)
    pad_mode: PadMode = "zero"
    tail: Tail = field(default_factory=Tail)


@dataclass(frozen=True)
class Pass:
    """Hands every `stride`-th position of the (padded or cropped) map to the tail, without arithmetic.

    With `input_dilation` every position is repeated that often: the filter is as large, and its weights are 1.
    Positions beyond the map are `pad_value` where `pad_mode` is zero.
    """

    INPUTS: ClassVar = ("x", "residual?", "slope?", "table?")
    stride: Pair = (1, 1)
    pads: Pads = NO_PADS
    input_dilation: Pair = (1, 1)
    pad_mode: PadMode = "zero"
    pad_value: float = 0.0
    tail: Tail = field(default_factory=Tail)
    dilation: ClassVar[Pair] = (1, 1)

    @property
    def kernel(self) -> Pair:
        return self.input_dilation


@dataclass(frozen=True)
class Concat:
    """Joins maps of one size along their channels."""

    INPUTS: ClassVar = ("x*",)


@dataclass(frozen=True)
class Channels:
    """The channels from `start` to before `stop` of a map."""

    INPUTS: ClassVar = ("x",)
    start: int
    stop: int


@dataclass(frozen=True)
class Scale:
    """x * scale + bias per channel; scale and bias [channels]."""

    INPUTS: ClassVar = ("x", "scale", "bias")


@dataclass(frozen=True)
class Activate:
    """An activation by itself."""

    INPUTS: ClassVar = ("x", "slope?", "table?")
    activation: Activation


@dataclass(frozen=True)
class Elementwise:
    """x + residual, x - residual or x * residual, of one shape; a residual of one position meets every position."""

    INPUTS: ClassVar = ("x", "residual")
    operation: Literal["add", "subtract", "multiply"]


@dataclass(frozen=True)
class Pool:
    """Pooling by itself."""

    INPUTS: ClassVar = ("x",)
    window: Window


@dataclass(frozen=True)
class Pad:
    """Positions around the map (`pads`), and zero channels before and after its own (`channels`).

    The positions repeat the edge, mirror the map without its edge, or hold `value` where `mode` is zero.
    """

    INPUTS: ClassVar = ("x",)
    pads: Pads = NO_PADS
    channels: Pair = (0, 0)
    mode: PadMode = "zero"
    value: float = 0.0


@dataclass(frozen=True)
class Slice:
    """x[start : stop : step] for channels, height and width; steps are positive."""

    INPUTS: ClassVar = ("x",)
    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    step: tuple[int, int, int] = (1, 1, 1)


Layer = Conv | Depthwise | Pass


def slides_windows(op: Layer, side: int) -> bool:
    """Whether a depthwise filter slides over its map as windows of at most `side` rows and columns.

    Filter and map have no holes, and pads are zeros, of which there are fewer than the filter is large: on each side,
    so that every window meets the map, and on both together, so that a row's windows are complete before the next's.
    Strides are no longer than the filter: a window takes a cycle for each position that it moves on.
    """
    plain = op.dilation == op.input_dilation == (1, 1) and op.pad_mode == "zero"
    top, left, bottom, right = op.pads
    narrow = all(
        max(before, after, before + after) < size
        for before, after, size in ((top, bottom, op.kernel[0]), (left, right, op.kernel[1]))
    )
    close = max(op.stride) <= max(op.kernel)
    return isinstance(op, Depthwise) and plain and narrow and close and 1 < max(op.kernel) <= side


Operator = Layer | Concat | Channels | Scale | Activate | Elementwise | Pool | Pad | Slice
