"""Random graphs of the operators that the frontend makes, reproducible from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bfpc.ir.graph import Constant, Graph, Node, Port, Value
from bfpc.ir.operators import (
    Activate,
    Activation,
    Channels,
    Clip,
    Concat,
    Conv,
    Elementwise,
    Operator,
    Pad,
    Pool,
    PositionScale,
    PRelu,
    Scale,
    Slice,
    Table,
    Window,
)
from bfpc.ir.shapes import output_shape

CHANNELS = (1, 3, 4, 8, 12, 16, 24)
MAX_SIZE = 20


class RandomGraph:
    """Grows a graph from two inputs of one size, an operator at a time."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        size = tuple(int(extent) for extent in self.rng.integers(4, 12, 2))
        self.inputs = tuple(Value(name, (self.pick(*CHANNELS), *size)) for name in ("x", "r"))
        self.values: list[Value] = list(self.inputs)

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def normal(self, *shape: int) -> str:
        name = f"c{len(self.constants)}"
        array = self.rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        self.constants[name] = array.astype(np.float32)
        return name

    def uniform(self, size: int) -> str:
        """Numbers from 0 to 1."""
        name = f"c{len(self.constants)}"
        self.constants[name] = self.rng.random(size, np.float32)
        return name

    def add(self, op: Operator, **inputs: str) -> Value:
        shapes = {role: self._shape(name) for role, name in inputs.items()}
        value = Value(f"v{len(self.nodes)}", output_shape(op, shapes))
        if min(value.shape) < 1:  # all was cropped: there is no such node
            return self.values[-1]
        self.nodes.append(Node(op, inputs, value))
        self.values.append(value)
        return value

    def _shape(self, name: str) -> tuple[int, ...]:
        constant = self.constants.get(name)
        if isinstance(constant, np.ndarray):
            return constant.shape
        return next(value.shape for value in self.values if value.name == name)

    def finish(self) -> Graph:
        """The graph with its last value, and perhaps others, as outputs."""
        axes = ("N", "C", "H", "W")
        names = {self.values[-1].name} | {node.name for node in self.nodes if self.rng.random() < 0.1}
        inputs = tuple(Port(value.name, value.name, axes) for value in self.inputs)
        outputs = tuple(Port(name, name, axes) for name in sorted(names))
        return Graph("random", self.inputs, tuple(self.nodes), self.constants, inputs, outputs).pruned().check()


def random_graph(seed: int, steps: int = 10) -> Graph:
    net = RandomGraph(seed)
    while len(net.nodes) < steps:
        # Mostly onwards from the last value, sometimes from an earlier one.
        x = net.values[-1] if net.rng.random() < 0.7 else net.pick(*net.values)
        STEPS[net.rng.integers(len(STEPS))](net, x)
    return net.finish()


def _pads(net: RandomGraph, most: int, least: int = 0) -> tuple[int, int, int, int]:
    top, left, bottom, right = (int(pad) for pad in net.rng.integers(least, most + 1, 4))
    return top, left, bottom, right


def convolution(net: RandomGraph, x: Value) -> None:
    channels, height, width = x.shape
    kernel, stride = (net.pick(1, 2, 3), net.pick(1, 2, 3)), (net.pick(1, 1, 2), net.pick(1, 2))
    if min(height, width) < 6:
        one_tap(net, x)
        return
    groups = net.pick(*(g for g in (1, 1, 2, 4, channels) if channels % g == 0))
    outputs = groups * net.pick(1, 1, 2, 4) if groups > 1 else net.pick(*CHANNELS)
    mode = net.pick("zero", "zero", "edge", "reflect")
    op = Conv(kernel, stride, _pads(net, 2, -1), net.pick((1, 1), (1, 1), (2, 1)), groups, pad_mode=mode)
    _weighted(net, x, op, outputs)


def transposed(net: RandomGraph, x: Value) -> None:
    if max(x.shape[1:]) * 2 > MAX_SIZE:
        return
    kernel, dilation = (net.pick(1, 2, 3, 4), net.pick(1, 2, 3, 4)), (net.pick(1, 2), net.pick(2, 3))
    mode = net.pick("zero", "edge")
    groups = net.pick(1, x.shape[0])
    op = Conv(kernel, pads=_pads(net, 3, 2), groups=groups, input_dilation=dilation, pad_mode=mode)
    _weighted(net, x, op, groups * net.pick(1, 2))


def one_tap(net: RandomGraph, x: Value) -> None:
    _weighted(net, x, Conv((1, 1)), net.pick(*CHANNELS))


def shuffle(net: RandomGraph, x: Value) -> None:
    """Any channels in any order."""
    chosen = net.rng.permutation(x.shape[0]) if net.rng.random() < 0.6 else net.rng.integers(0, x.shape[0], 8)
    name = net.normal(len(chosen), x.shape[0], 1, 1)
    net.constants[name] = np.eye(x.shape[0], dtype=np.float32)[chosen][:, :, None, None]
    net.add(Conv((1, 1)), x=x.name, weight=name)


def _weighted(net: RandomGraph, x: Value, op: Conv, outputs: int) -> None:
    weight = net.normal(outputs, x.shape[0] // op.groups, *op.kernel)
    bias = {"bias": net.normal(outputs)} if net.rng.random() < 0.5 else {}
    net.add(op, x=x.name, weight=weight, **bias)


def scale(net: RandomGraph, x: Value) -> None:
    scale, bias = net.normal(x.shape[0]), net.normal(x.shape[0])
    if net.rng.random() < 0.5:  # one number for all channels
        for name in (scale, bias):
            net.constants[name] = np.full(x.shape[0], net.rng.uniform(-2, 2), np.float32)
    net.add(Scale(), x=x.name, scale=scale, bias=bias)


ACTIVATIONS: tuple[Activation, ...] = (
    Clip(),
    Clip(-0.5, 0.75),
    Clip(0.25, 6.0),
    PRelu(),
    Table((("sigmoid",),)),
    Table((("softplus",), ("tanh",)), gated=True),
    Table((("affine", 0.5, 1.0), ("erf",))),
    PositionScale("row"),
    PositionScale("column"),
)


def activation(net: RandomGraph, x: Value) -> None:
    chosen = net.pick(*ACTIVATIONS)
    numbers = {"slope": net.normal(x.shape[0])} if chosen == PRelu() else {}
    if isinstance(chosen, PositionScale):
        numbers = {"table": net.uniform(x.shape[1 if chosen.axis == "row" else 2])}
    net.add(Activate(chosen), x=x.name, **numbers)


def gate(net: RandomGraph, x: Value) -> None:
    """x times a function of x."""
    activation(net, x)
    net.add(Elementwise("multiply"), **dict(zip(("x", "residual"), _shuffled(net, x, net.values[-1]), strict=True)))


def _shuffled(net: RandomGraph, *values: Value) -> list[str]:
    return [values[index].name for index in net.rng.permutation(len(values))]


def elementwise(net: RandomGraph, x: Value) -> None:
    """With a map of the same shape, or of one position."""
    others = [value for value in net.values if value.shape in (x.shape, (x.shape[0], 1, 1))]
    net.add(Elementwise(net.pick("add", "subtract", "multiply")), x=x.name, residual=net.pick(*others).name)


def squeeze(net: RandomGraph, x: Value) -> None:
    pooled = net.add(Pool(Window(net.pick("max", "average"), x.shape[1:])), x=x.name)
    net.add(Elementwise(net.pick("add", "multiply")), x=x.name, residual=pooled.name)


def pooling(net: RandomGraph, x: Value) -> None:
    kernel = tuple(min(net.pick(1, 2, 3, 5), extent) for extent in x.shape[1:])
    pads = tuple(int(net.rng.integers(0, taps)) for taps in kernel * 2)
    window = Window(net.pick("max", "average"), kernel, (net.pick(1, 2), net.pick(1, 2)), pads, net.pick(False, True))  # type: ignore[arg-type]
    net.add(Pool(window), x=x.name)


def pad(net: RandomGraph, x: Value) -> None:
    if max(x.shape[1:]) > MAX_SIZE or min(x.shape[1:]) < 5:
        return
    mode = net.pick("zero", "edge", "reflect")
    value = net.pick(0.0, 0.5, -1.0) if mode == "zero" else 0.0
    channels = (net.pick(0, 0, 2), net.pick(0, 3)) if net.rng.random() < 0.3 else (0, 0)
    net.add(Pad(_pads(net, 2, -1), channels, mode, value), x=x.name)


def slices(net: RandomGraph, x: Value) -> None:
    """A part of the channels, rows and columns."""
    start = tuple(int(net.rng.integers(0, max(1, extent // 2))) for extent in x.shape)
    stop = tuple(int(net.rng.integers(first + 1, extent + 1)) for first, extent in zip(start, x.shape, strict=True))
    step = (net.pick(1, 1, 2), net.pick(1, 2), net.pick(1, 1, 3))
    if net.rng.random() < 0.6:
        start, stop, step = (start[0], 0, 0), (stop[0], *x.shape[1:]), (1, 1, 1)
    net.add(Slice(start, stop, step), x=x.name)  # type: ignore[arg-type]


def split(net: RandomGraph, x: Value) -> None:
    """In two, of which one goes on."""
    if x.shape[0] > 1:
        middle = net.pick(x.shape[0] // 2, min(8, x.shape[0] - 1))
        net.add(Channels(0, middle), x=x.name)
        net.add(Channels(middle, x.shape[0]), x=x.name)


def concat(net: RandomGraph, x: Value) -> None:
    """With one or two maps of the same size."""
    others = [value for value in net.values if value.shape[1:] == x.shape[1:]]
    parts = [x, *(net.pick(*others) for _ in range(net.pick(1, 2)))]
    if sum(part.shape[0] for part in parts) <= 64:
        names = _shuffled(net, *parts)
        net.add(Concat(), **{f"x{index}": name for index, name in enumerate(names)})


Step = Callable[[RandomGraph, Value], None]
STEPS: tuple[Step, ...] = (
    *(convolution, convolution, transposed, one_tap, shuffle, scale, activation, gate),
    *(elementwise, squeeze, pooling, pad, slices, split, concat, concat),
)
