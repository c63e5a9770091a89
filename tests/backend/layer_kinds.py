"""One layer of every kind, as a graph of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bfpc.config_architecture import DEPTHWISE_WINDOWS
from bfpc.ir.graph import Graph, Node, Shape
from bfpc.ir.operators import Clip, Pair, Pass, PRelu, Table, Tail, Window
from bfpc.numerics.format import BfpFormat
from bfpc.passes.stream_maps import stream_maps
from tests.backend.graphs import ACTIVATION, WEIGHT, Draft, graph_of


def always(*_: Node) -> bool:
    """Buffers that hold any two layers that run together; the backend refuses what they don't."""
    return True


@dataclass
class Layer:
    """A layer in the making; its input is `x`."""

    draft: Draft
    weight: BfpFormat

    def dense(self, shape: Shape, outputs: int, kernel: int = 1, **options: Any) -> None:
        self.draft.conv("layer", self.draft.input("x", shape), outputs, kernel, weight=self.weight, **options)

    def depthwise(self, shape: Shape, kernel: int, stride: int = 1) -> None:
        self.draft.depthwise("layer", self.draft.input("x", shape), kernel, stride)

    def streamed(self, shape: Shape, channels: int, kernel: int, window: int, stride: int = 1) -> None:
        tail = Tail(Clip())
        self.draft.conv("map", self.draft.input("x", shape), channels, kernel, weight=self.weight, tail=tail)
        self.draft.depthwise("layer", "map", window, stride)

    def pooled(self, shape: Shape, channels: int, pool: Window) -> None:
        self.draft.conv("map", self.draft.input("x", shape), channels, 1, weight=self.weight, tail=Tail(Clip()))
        self.draft.add("layer", Pass(tail=Tail(pool=pool)), {"x": "map"})

    def passing(self, shape: Shape, op: Pass) -> None:
        self.draft.add("layer", op, {"x": self.draft.input("x", shape)})

    def residual(self, shape: Shape, outputs: int, size: Pair) -> None:
        other = self.draft.input("other", (outputs, *size))
        self.dense(shape, outputs, residual=other)


MAX_POOL = Tail(Clip(), Window("max", (3, 3), (2, 2), (1, 1, 1, 1)))
KINDS: dict[str, Callable[[Layer], None]] = {
    "dense": lambda layer: layer.dense((100, 20, 24), 70, 3),
    "pointwise": lambda layer: layer.dense((64, 20, 24), 128),
    "few channels": lambda layer: layer.dense((27, 20, 24), 40, 3),
    "wide rows": lambda layer: layer.dense((40, 3, 150), 20, 3),
    "pooled": lambda layer: layer.dense((147, 20, 20), 64, tail=MAX_POOL),
    "fully connected": lambda layer: layer.dense((300, 1, 1), 100),
    "averaged": lambda layer: layer.dense((64, 7, 7), 40, tail=Tail(None, Window("average", (7, 7)))),
    "pooled in order": lambda layer: layer.dense((64, 20, 24), 40, tail=Tail(None, Window("average", (2, 3), (2, 3)))),
    "strided": lambda layer: layer.dense((200, 20, 20), 70, stride=2),
    "strided filter": lambda layer: layer.dense((70, 21, 23), 40, 3, stride=2),
    "residual": lambda layer: layer.residual((64, 20, 23), 70, (20, 23)),
    "residual of one position": lambda layer: layer.residual((64, 20, 23), 70, (1, 1)),
    "slopes": lambda layer: layer.dense((64, 9, 11), 70, tail=Tail(PRelu())),
    "table": lambda layer: layer.dense((64, 20, 24), 64, tail=Tail(Table((("tanh",),)))),
    "depthwise": lambda layer: layer.depthwise((70, 20, 20), 5),
    "depthwise by windows": lambda layer: layer.depthwise((70, 20, 20), 3),
    "depthwise by windows, strided": lambda layer: layer.depthwise((200, 20, 21), 3, 2),
    "depthwise by windows, one position": lambda layer: layer.depthwise((200, 1, 1), 3),
    "streamed": lambda layer: layer.streamed((64, 20, 24), 130, 1, 3),
    "streamed, strided": lambda layer: layer.streamed((40, 21, 25), 70, 3, 3, 2),
    "streamed to a pool": lambda layer: layer.pooled((70, 9, 11), 40, Window("average", (9, 11), (9, 11))),
    "streamed to pools": lambda layer: layer.pooled((70, 21, 22), 40, Window("max", (3, 3), (2, 2), (1, 1, 1, 1))),
    "streamed, few positions": lambda layer: layer.streamed((100, 2, 1), 40, 1, 3),
    "transposed": lambda layer: layer.dense((100, 9, 10), 70, 4, input_dilation=2),
    "few positions meet a tap": lambda layer: layer.dense((40, 2, 3), 12, 5, input_dilation=3),
    "nearest": lambda layer: layer.passing((70, 10, 12), Pass(input_dilation=(2, 2), pads=(1, 1, 1, 1))),
    "reflected": lambda layer: layer.passing((70, 18, 15), Pass(pads=(3, 4, 2, 5), pad_mode="reflect")),
    "repeated edge": lambda layer: layer.passing((70, 18, 15), Pass(pads=(3, 4, 2, 5), pad_mode="edge")),
}


def layer_of(kind: str, activation: BfpFormat = ACTIVATION, weight: BfpFormat = WEIGHT) -> Graph:
    """The graph of a layer of one of KINDS; its formats are those of maps and dense weights."""
    layer = Layer(Draft(activation=activation), weight)
    KINDS[kind](layer)
    return stream_maps(graph_of(layer.draft), max(DEPTHWISE_WINDOWS), always)
