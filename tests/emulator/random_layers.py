"""Random quantized layers of every kind, tail, format and odd shape, reproducible from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from bfpc.errors import CapacityError
from bfpc.ir.graph import Constant, Graph, Node, Port, Shape, Value
from bfpc.ir.operators import (
    Activation,
    Clip,
    Conv,
    Depthwise,
    Layer,
    PadMode,
    Pads,
    Pair,
    Pass,
    PositionScale,
    PRelu,
    Table,
    Tail,
    Window,
    slides_windows,
)
from bfpc.ir.shapes import output_shape
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor
from bfpc.passes.prove_accumulators import prove_accumulators
from tests.backend.strategies import random_tensor

AXES = ("N", "C", "H", "W")
CHANNELS = (1, 3, 4, 7, 8, 16, 21, 40)
Limit = tuple[int, int]  # of mantissa bits and of the exponent range
LIMITS: tuple[Limit, ...] = ((3, 1), (5, 3), (5, 7), (8, 7), (12, 3), (12, 15), (12, 31))
JOINS = (Tail(residual="add"), Tail(residual="subtract"), Tail(residual="multiply"))
MAX_TRIES = 1000


@dataclass(frozen=True)
class Example:
    """A quantized graph of one layer or two, and its stored input maps, with a leading axis of images."""

    graph: Graph
    inputs: dict[str, BfpTensor]


def random_layer(seed: int, limits: Sequence[Limit] = LIMITS) -> Example:
    """A layer whose sums fit the hardware, its formats drawn within one of `limits`."""
    return _random_example(seed, lambda rng: _draw_layer(rng, limits[int(rng.integers(len(limits)))]))


def random_pair(seed: int, window: int, blocks: Sequence[int]) -> Example:
    """A dense layer, and a depthwise one behind it that slides windows; blocks: the sizes that maps are stored in."""
    return _random_example(seed, lambda rng: _draw_pair(rng, window, blocks))


def _random_example(seed: int, draw: Callable[[np.random.Generator], Graph]) -> Example:
    """What is drawn first whose sums fit the hardware."""
    rng = np.random.default_rng(seed)
    for _ in range(MAX_TRIES):
        try:
            graph = draw(rng)
        except CapacityError:
            continue
        return Example(graph, {value.name: random_maps(rng, value) for value in graph.values})
    raise AssertionError("no layer fits")


def random_format(rng: np.random.Generator, limit: Limit, *, signed: bool | None = None) -> BfpFormat:
    return BfpFormat(
        mantissa_bits=int(rng.integers(2, limit[0] + 1)),
        block_size=int(rng.choice(BLOCK_SIZES)),
        exponent_range=int(rng.integers(0, limit[1] + 1)),
        signed=bool(rng.integers(2)) if signed is None else signed,
        exponent=int(rng.integers(-12, 3)),
    )


def random_maps(rng: np.random.Generator, value: Value, images: int = 2) -> BfpTensor:
    """Any mantissas and offsets that the value's format holds, its extremes often among them."""
    assert value.format is not None
    blocks = -(-value.shape[0] // value.format.block_size)
    shape, offsets = (images, *value.shape), (images, blocks, *value.shape[1:])
    tensor = random_tensor(value.format, shape, offsets, int(rng.integers(2**32)))
    extreme = np.where(rng.random(shape) < 0.5, value.format.min_mantissa, value.format.max_mantissa)
    mantissas = np.where(rng.random(shape) < 0.1, extreme, tensor.mantissas).astype(np.int16)
    return BfpTensor(value.format, mantissas * (rng.random(shape) < 0.9), tensor.offsets)


def _draw_layer(rng: np.random.Generator, limit: Limit) -> Graph:
    """Raises CapacityError where the drawn layer's sums don't fit the hardware."""
    x = Value("x", (int(rng.choice(CHANNELS)), *_pair(rng.integers(1, 9, 2))), random_format(rng, limit))
    op = _draw_array(rng, x.shape)
    constants: dict[str, Constant] = {}
    if not isinstance(op, Pass):
        outputs = x.shape[0] if isinstance(op, Depthwise) else int(rng.choice(CHANNELS))
        constants["weight"] = _draw_weight(rng, op, x.shape[0], outputs, random_format(rng, limit, signed=True))
    node = _node(op, [x], constants)
    values = [x]
    scale = _largest(_graph(values, node, constants))
    if isinstance(op, Pass):
        op = replace(op, pad_value=float(rng.normal() * scale / 8) * (op.pad_mode == "zero" and rng.random() < 0.5))
    elif rng.random() < 0.7:
        constants["bias"] = (rng.standard_normal(outputs) * scale / 8).astype(np.float32)
    if rng.random() < 0.5:
        size = node.output.shape[1:] if rng.random() < 0.7 else (1, 1)
        values.append(Value("residual", (node.output.shape[0], *size), random_format(rng, limit)))
        op = replace(op, tail=JOINS[rng.integers(len(JOINS))])
    scale = _largest(_graph(values, _node(op, values, constants), constants))
    activation = _draw_activation(rng, scale)
    if isinstance(activation, PRelu):
        constants["slope"] = rng.uniform(-1, 2, node.output.shape[0]).astype(np.float32)
    if isinstance(activation, PositionScale):
        positions = node.output.shape[1 if activation.axis == "row" else 2]
        constants["table"] = rng.uniform(0, 1, positions).astype(np.float32)
    op = replace(op, tail=replace(op.tail, activation=activation, pool=_draw_window(rng, node.output.shape[1:])))
    graph = prove_accumulators(_graph(values, _node(op, values, constants), constants))
    signed = None if isinstance(activation, Clip) and activation.low >= 0 else True
    output = random_format(rng, limit, signed=signed)
    return replace(graph, nodes=(_with_format(rng, graph.nodes[0], output),)).check()


def _draw_pair(rng: np.random.Generator, window: int, blocks: Sequence[int]) -> Graph:
    """Raises CapacityError where the drawn layers' sums don't fit the hardware."""

    def format(*, signed: bool | None = None) -> BfpFormat:
        return replace(random_format(rng, (8, 3), signed=signed), block_size=int(rng.choice(blocks)))

    def layer(name: str, op: Conv | Depthwise, source: Value, outputs: int) -> Graph:
        x = replace(source, name="x")
        constants: dict[str, Constant] = {"weight": _draw_weight(rng, op, x.shape[0], outputs, format(signed=True))}
        scale = _largest(_graph([x], _node(op, [x], constants, name), constants))
        constants["bias"] = (rng.standard_normal(outputs) * scale / 8).astype(np.float32)
        high = scale * rng.uniform(0, 0.25)
        bounds = (None, Clip(), Clip(0.0, high), Clip(-high, high))[rng.integers(4)]
        op = replace(op, tail=Tail(bounds))
        graph = prove_accumulators(_graph([x], _node(op, [x], constants, name), constants))
        (node,), positive = graph.nodes, bounds is not None and bounds.low >= 0
        constants = {f"{name}.{key}": constant for key, constant in graph.constants.items()}
        inputs = {role: source.name if role == "x" else f"{name}.{key}" for role, key in node.inputs.items()}
        node = replace(_with_format(rng, node, format(signed=None if positive else True)), inputs=inputs)
        return graph.with_nodes([node], constants)

    x = Value("x", (int(rng.integers(1, 38)), *_pair(rng.integers(1, 25, 2))), format())
    dense = _draw_kind(rng, x.shape, lambda op: isinstance(op, Conv))
    assert isinstance(dense, Conv)
    outputs = int(rng.integers(1, 28))
    first = layer("map", dense, x, outputs)
    made = first.nodes[0].output
    filter = _draw_kind(rng, made.shape, lambda op: isinstance(op, Depthwise) and slides_windows(op, window))
    assert isinstance(filter, Depthwise)
    second = layer("y", filter, made, outputs)
    return replace(second, values=(x,), inputs=first.inputs).with_nodes(
        (*first.nodes, *second.nodes), {**first.constants, **second.constants}
    )


def _draw_kind(rng: np.random.Generator, shape: Shape, wanted: Callable[[Layer], bool]) -> Layer:
    """The first layer drawn that is wanted."""
    drawn = (_draw_array(rng, shape) for _ in count())
    return next(op for op in drawn if wanted(op))


def _draw_array(rng: np.random.Generator, shape: Shape) -> Layer:
    kernel, stride, dilation, between = (_pair(rng.integers(1, most, 2)) for most in (4, 4, 3, 4))
    pads = _pads(rng.integers(0, 3, 4))
    if rng.random() < 0.3:  # crop
        pads = _pads(-rng.integers(0, 1 + np.array([*shape[1:], *shape[1:]]) // 3))
    if rng.random() < 0.3:  # a transposed convolution, or an upsampling
        kernel = _pair(np.maximum(kernel, between))
        stride, dilation = (1, 1), (1, 1)
    else:
        between = (1, 1)
    kinds = (
        Conv(kernel, stride, pads, dilation, input_dilation=between),
        Depthwise(kernel, stride, pads, dilation, between),
        Pass(stride, pads, between),
    )
    op: Layer = kinds[rng.integers(len(kinds))]
    lengths = [(size - 1) * step + 1 for size, step in zip(shape[1:], between, strict=True)]
    spans = [(size - 1) * step + 1 for size, step in zip(op.kernel, op.dilation, strict=True)]
    missing = [max(spans[axis] - lengths[axis] - pads[axis] - pads[axis + 2], 0) for axis in (0, 1)]
    pads = (pads[0], pads[1], pads[2] + missing[0], pads[3] + missing[1])
    modes: list[PadMode] = ["zero", "edge"]
    if between == (1, 1) and max(pads[0], pads[2]) < shape[1] and max(pads[1], pads[3]) < shape[2]:
        modes.append("reflect")
    return replace(op, pads=pads, pad_mode=modes[rng.integers(len(modes))])


def _draw_weight(
    rng: np.random.Generator, op: Conv | Depthwise, inputs: int, outputs: int, format: BfpFormat
) -> BfpTensor:
    seed = int(rng.integers(2**32))
    if isinstance(op, Depthwise):
        format = replace(format, block_size=op.kernel[0] * op.kernel[1])
        return random_tensor(format, (outputs, 1, *op.kernel), (outputs,), seed)
    blocks = -(-inputs // format.block_size)
    return random_tensor(format, (outputs, inputs, *op.kernel), (outputs, blocks, *op.kernel), seed)


def _draw_activation(rng: np.random.Generator, scale: float) -> Activation | None:
    low, high = (float(bound) for bound in np.sort(rng.uniform(-0.25, 0.25, 2)) * scale)
    clips = (Clip(), Clip(-np.inf, high), Clip(low, high), Clip(0.0, abs(high)))
    choices = (None, *clips, PRelu(), PositionScale("row"), PositionScale("column"))
    pick = rng.integers(len(choices) + 2)
    return choices[pick] if pick < len(choices) else _draw_table(rng, scale, (low, high))


def _draw_table(rng: np.random.Generator, scale: float, domain: tuple[float, float]) -> Table:
    """A function that varies over a domain which need not hold zero, and may be a single point."""
    name = ("sigmoid", "tanh", "exp", "reciprocal", "softplus", "clip", "log")[rng.integers(7)]
    step = ("clip", -1.0, 1.0) if name == "clip" else (name,)
    kinds = (domain, (-scale, scale), (-scale / 64, scale / 64), (domain[0], domain[0]), (scale / 1024, domain[1]))
    low, high = kinds[rng.integers(len(kinds))]
    zoom = 4.0 / max(abs(low), abs(high))
    steps = (("affine", zoom, float(rng.normal())), step) if name != "log" else (("affine", zoom, 4.5), step)
    return Table(steps, gated=bool(rng.integers(2)), domain=(min(low, high), max(low, high)))


def _draw_window(rng: np.random.Generator, size: Pair) -> Window | None:
    if rng.random() < 0.5:
        return None
    kernel = np.minimum(rng.integers(1, 4, 2), size) if rng.random() < 0.8 else np.array(size)
    pads = np.minimum(rng.integers(0, 3, 4), np.tile(kernel - 1, 2)) * int(rng.integers(2))
    plain = Window("max" if rng.random() < 0.5 else "average", _pair(kernel), _pair(rng.integers(1, 4, 2)), _pads(pads))
    return replace(plain, count_padding=bool(rng.integers(2)))


def _node(op: Layer, values: list[Value], constants: dict[str, Constant], name: str = "y") -> Node:
    inputs = {value.name: value.name for value in values} | {name: name for name in constants}
    weight = constants.get("weight")
    shapes: dict[str, tuple[int, ...]] = {"x": values[0].shape}
    if isinstance(weight, BfpTensor):
        shapes["weight"] = weight.mantissas.shape
    return Node(op, inputs, Value(name, output_shape(op, shapes)))


def _graph(values: list[Value], node: Node, constants: dict[str, Constant]) -> Graph:
    ports = tuple(Port(value.name, value.name, AXES) for value in values)
    return Graph("layer", tuple(values), (node,), constants, ports, (Port(node.name, node.name, AXES),))


def _largest(graph: Graph) -> float:
    """The largest real value that any input can cause."""
    arithmetic = prove_accumulators(graph).nodes[0].arithmetic
    assert arithmetic is not None
    return arithmetic.position_bound * 2.0**arithmetic.output_exponent


def _with_format(rng: np.random.Generator, node: Node, format: BfpFormat) -> Node:
    """The node with an output window between one that holds every number and one in which most saturate."""
    arithmetic = node.arithmetic
    assert arithmetic is not None
    top = arithmetic.output_bound.bit_length() + arithmetic.output_exponent - int(rng.integers(0, 12))
    format = format.with_top(top)
    return replace(node, output=replace(node.output, format=format))


def _pair(pair: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Pair:
    return int(pair[0]), int(pair[1])


def _pads(pads: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Pads:
    return int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])
