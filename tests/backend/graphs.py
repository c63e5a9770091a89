"""Quantized graphs for the backend's tests: random payloads, plausible arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from bfpc.backend.architecture import Architecture
from bfpc.ir.graph import Constant, Graph, Node, Port, Value
from bfpc.ir.operators import Channels, Clip, Concat, Conv, Depthwise, Pads, Pass, PRelu, Table, Tail, Window
from bfpc.ir.shapes import output_shape
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import LayerArithmetic
from tests.backend.strategies import random_tensor

ACTIVATION = BfpFormat(5, 16, 7)
WEIGHT = BfpFormat(4, 16, 3)
DEPTHWISE_WEIGHT = BfpFormat(8, 9, 7)
ARITHMETIC = LayerArithmetic(
    accumulator_exponent=-10,
    accumulator_bound=1 << 26,
    accumulator_bits=28,
    accumulator_shift=0,
    residual_shift=2,
    clip_low=0,
    clip_high=None,
    reciprocal_shift=16,
    output_exponent=-10,
    position_bound=1 << 27,
    output_bound=1 << 27,
    tail_bits=29,
)
ARCHITECTURE = Architecture(
    c_vec=64,
    k_vec=32,
    block=16,
    activation_bits=5,
    weight_bits=4,
    feature_bits=5,
    dense_weight_bits=4,
    depthwise_weight_bits=8,
    accumulator_bits=32,
    max_mantissa_bits=5,
    depthwise_window=3,
)
WIDEST = Architecture(
    c_vec=16,
    k_vec=8,
    block=4,
    activation_bits=12,
    weight_bits=12,
    feature_bits=13,
    dense_weight_bits=12,
    depthwise_weight_bits=12,
    accumulator_bits=48,
    max_mantissa_bits=12,
    depthwise_window=3,
    feature_depth=2048,
    accumulator_positions=1024,
    weight_beats=2048,
)
AXES = ("N", "C", "H", "W")


@dataclass
class Draft:
    """A graph as it grows; methods return the name of the map they add."""

    values: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    activation: BfpFormat = ACTIVATION
    accumulator_bits: int = ARITHMETIC.accumulator_bits

    def input(self, name: str, shape: tuple[int, int, int]) -> str:
        self.values.append(Value(name, shape, self.activation))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.constants:
            constant = self.constants[name]
            return constant.mantissas.shape if isinstance(constant, BfpTensor) else constant.shape
        return next(v.shape for v in [*self.values, *(node.output for node in self.nodes)] if v.name == name)

    def add(self, name: str, op: Conv | Depthwise | Pass | Concat | Channels, inputs: dict[str, str]) -> str:
        known = {role: self.shape(source) for role, source in inputs.items()}
        arithmetic = (
            None if isinstance(op, Concat | Channels) else replace(ARITHMETIC, accumulator_bits=self.accumulator_bits)
        )
        self.nodes.append(Node(op, inputs, Value(name, output_shape(op, known), self.activation), arithmetic))
        return name

    def conv(
        self,
        name: str,
        x: str,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        input_dilation: int = 1,
        tail: Tail | None = None,
        residual: str | None = None,
        weight: BfpFormat = WEIGHT,
        bias: int = 1 << 20,
        slope: int = 64,
    ) -> str:
        inputs = self.shape(x)[0]
        blocks = -(-inputs // weight.block_size)
        size = (kernel, kernel)
        self.constants[f"{name}.weight"] = random_tensor(
            weight, (outputs, inputs, *size), (outputs, blocks, *size), seed=len(self.nodes)
        )
        self.constants[f"{name}.bias"] = np.full(outputs, bias, np.int64)
        roles = {"x": x, "weight": f"{name}.weight", "bias": f"{name}.bias"}
        if residual is not None:
            roles["residual"] = residual
        tail = tail or Tail(Clip())
        if isinstance(tail.activation, PRelu):
            self.constants[f"{name}.slope"] = np.full(outputs, slope, np.int64)
            roles["slope"] = f"{name}.slope"
        if isinstance(tail.activation, Table):
            entries = np.random.default_rng(len(self.nodes)).integers(-(1 << 15), 1 << 15, 4096)
            self.constants[f"{name}.table"] = entries.astype(np.int16)
            roles["table"] = f"{name}.table"
        pads: Pads = (kernel // 2,) * 4
        op = Conv(size, (stride, stride), pads, input_dilation=(input_dilation, input_dilation), tail=tail)
        return self.add(name, op, roles)

    def depthwise(self, name: str, x: str, kernel: int = 3, stride: int = 1) -> str:
        channels = self.shape(x)[0]
        self.constants[f"{name}.weight"] = random_tensor(
            DEPTHWISE_WEIGHT, (channels, 1, kernel, kernel), (channels,), seed=len(self.nodes)
        )
        self.constants[f"{name}.bias"] = np.full(channels, -5, np.int64)
        roles = {"x": x, "weight": f"{name}.weight", "bias": f"{name}.bias"}
        pads: Pads = (kernel // 2,) * 4
        op = Depthwise((kernel, kernel), (stride, stride), pads, tail=Tail(Clip()))
        return self.add(name, op, roles)

    def graph(self, *outputs: str) -> Graph:
        inputs = tuple(Port(value.name, value.name, AXES) for value in self.values)
        ports = tuple(Port(name, name, AXES) for name in outputs)
        return Graph("test", tuple(self.values), tuple(self.nodes), self.constants, inputs, ports).check()


def conv_layer(
    name: str,
    image: str,
    *,
    inputs: int,
    outputs: int,
    size: int,
    weight: BfpFormat = WEIGHT,
    activation: BfpFormat = ACTIVATION,
    bias: int = 1 << 20,
    slope: int | None = None,
    accumulator_bits: int = 28,
) -> Draft:
    """A draft of one 3x3 convolution of a square map."""
    draft = Draft(activation=activation, accumulator_bits=accumulator_bits)
    draft.input(image, (inputs, size, size))
    tail = Tail(Clip()) if slope is None else Tail(PRelu())
    draft.conv(name, image, outputs, 3, weight=weight, bias=bias, slope=slope or 0, tail=tail)
    return draft


def graph_of(draft: Draft) -> Graph:
    """The draft's graph; its last map is the output."""
    return draft.graph(draft.nodes[-1].name)


def small_network() -> Graph:
    """Every layer kind: strides, a residual, concatenation, max and average pooling."""
    draft = Draft()
    image = draft.input("image", (12, 20, 20))
    stem = draft.conv("stem", image, 32, 3, tail=Tail(Clip(), Window("max", (3, 3), (2, 2), (1, 1, 1, 1))))
    left = draft.conv("left", stem, 64, 1)
    right = draft.depthwise("right", stem)
    joined = draft.add("joined", Concat(), {"x0": left, "x1": right})
    narrow = draft.conv("narrow", joined, 32, 3, residual=stem)
    cropped = draft.add("cropped", Pass(stride=(2, 2), pads=(-1, -1, 0, 0)), {"x": narrow})
    size = draft.shape(cropped)[1:]
    draft.conv("head", cropped, 10, tail=Tail(None, Window("average", (size[0], size[1]))))
    return draft.graph("head", "cropped")


def resnet50() -> Graph:
    """The shapes of ResNet-50, its first layer folded to 7x7x3 channels; random weights."""
    draft = Draft()
    x = draft.input("image", (147, 112, 112))
    x = draft.conv("stem", x, 64, tail=Tail(Clip(), Window("max", (3, 3), (2, 2), (1, 1, 1, 1))))
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            name = f"stage{stage}.{block}"
            stride = 2 if stage and not block else 1
            shortcut = x if block else draft.conv(f"{name}.shortcut", x, 4 * width, stride=stride, tail=Tail())
            y = draft.conv(f"{name}.reduce", x, width)
            y = draft.conv(f"{name}.filter", y, width, 3, stride=stride)
            pool = Window("average", (7, 7)) if (stage, block) == (3, 2) else None
            x = draft.conv(f"{name}.expand", y, 4 * width, residual=shortcut, tail=Tail(Clip(), pool))
    draft.conv("classifier", x, 1000, tail=Tail())
    return draft.graph("classifier")
