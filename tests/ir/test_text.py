"""The text form of a graph: what it looks like, that it round-trips exactly, and what it refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfpc.ir.graph import Constant, Graph, Node, Port, Value
from bfpc.ir.layout import Fold
from bfpc.ir.operators import (
    Activate,
    Clip,
    Concat,
    Conv,
    Elementwise,
    Pad,
    Pass,
    Pool,
    PRelu,
    Scale,
    Slice,
    Tail,
    Window,
)
from bfpc.ir.text import TextError, parse_graph, print_graph
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import LayerArithmetic

INT5 = BfpFormat(5, 16, 7, exponent=-4)
UINT5 = BfpFormat(5, 16, 7, signed=False, exponent=-6)
INT4 = BfpFormat(4, 16, 3, exponent=-7)
ARITHMETIC = LayerArithmetic(-11, 1000, 11, 0, 0, 0, None, 16, -11, 1001, 1002, 12)

QUANTIZED = """\
graph "tiny"
input "image" = %image (N, H, W, C) : 3x8x8 [int5bfp/16 r7 e-4]
    fold(source=(3, 8, 8), kernel=(2, 2), stride=(2, 2), pads=(0, 0, 1, 1))
%conv1 = Conv(x=%image, weight=@w, bias=@b) {kernel=(3, 3), pads=(1, 1, 1, 1), tail=Tail(activation=Clip())} \
: 16x8x8 [uint5bfp/16 r7 e-6]
    arithmetic(accumulator_exponent=-11, accumulator_bound=1000, accumulator_bits=11, accumulator_shift=0, \
residual_shift=0, clip_low=0, clip_high=None, reciprocal_shift=16, output_exponent=-11, position_bound=1001, \
output_bound=1002, tail_bits=12)
output "logits" = %conv1 (N, CHW)
constant @b : 16 [int64]
constant @w : 16x3x3x3 [int4bfp/16 r3 e-7]
"""


def quantized_graph() -> Graph:
    weight = BfpTensor(INT4, np.zeros((16, 3, 3, 3), np.int16), np.zeros((16, 1, 3, 3), np.uint8))
    conv = Conv((3, 3), pads=(1, 1, 1, 1), tail=Tail(Clip()))
    node = Node(conv, {"x": "image", "weight": "w", "bias": "b"}, Value("conv1", (16, 8, 8), UINT5), ARITHMETIC)
    image = Port("image", "image", ("N", "H", "W", "C"), Fold((3, 8, 8), (2, 2), (2, 2), (0, 0, 1, 1)))
    constants: dict[str, Constant] = {"w": weight, "b": np.zeros(16, np.int64)}
    output = Port("logits", "conv1", ("N", "CHW"))
    return Graph("tiny", (Value("image", (3, 8, 8), INT5),), (node,), constants, (image,), (output,)).check()


def test_the_text_of_a_quantized_graph() -> None:
    assert print_graph(quantized_graph()) == QUANTIZED


def test_parsing_gives_the_graph_back_with_the_very_same_constants() -> None:
    graph = quantized_graph()
    assert parse_graph(QUANTIZED, graph.constants) == graph


formats = st.none() | st.builds(
    BfpFormat,
    mantissa_bits=st.integers(2, 12),
    block_size=st.sampled_from([4, 16, 64]),
    exponent_range=st.integers(0, 31),
    signed=st.booleans(),
    exponent=st.integers(-40, 40),
)
names = st.text(min_size=1, max_size=12) | st.from_regex(r"[A-Za-z0-9_.:/-]+", fullmatch=True)
pads = st.tuples(*[st.integers(-3, 3)] * 4)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
clips = st.builds(Clip, st.floats(-math.inf, 0, width=32), st.floats(0, math.inf, width=32))
activations = clips | st.just(PRelu())
windows = st.builds(Window, st.sampled_from(["max", "average"]), pairs, pairs, pads, st.booleans())
tails = st.builds(Tail, st.none() | activations, st.none() | windows)
triples = st.tuples(*[st.integers(0, 5)] * 3)
operators = st.one_of(
    st.builds(Conv, pairs, pairs, pads, pairs, st.integers(1, 4), tails),
    st.builds(Pass, pairs, pads, tails),
    st.builds(Activate, activations),
    st.builds(Pool, windows),
    st.builds(Pad, pads, st.tuples(st.integers(0, 4), st.integers(0, 4))),
    st.builds(Slice, triples, triples, triples),
    st.sampled_from([Concat(), Scale(), Elementwise("add")]),
)
arithmetics = st.none() | st.builds(
    LayerArithmetic, *[st.integers()] * 5, *[st.none() | st.integers()] * 2, *[st.integers()] * 5
)
axes = st.sampled_from([("N", "C", "H", "W"), ("N", "H", "W", "C"), ("N", "CHW"), ("N", "C", "", ""), ("C",)])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs whose text must round-trip; whether their shapes make sense is not the printer's business."""
    unique = draw(st.lists(names, min_size=4, max_size=8, unique=True))
    constant_name, *value_names = unique
    shapes = st.tuples(*[st.integers(1, 99)] * 3)
    values = [Value(name, draw(shapes), draw(formats)) for name in value_names]
    nodes = []
    for value in values[1:]:
        op = draw(operators)
        roles = ("x0", "x1") if isinstance(op, Concat) else tuple(role.rstrip("?") for role in op.INPUTS)
        inputs = {
            role: constant_name if role in ("weight", "bias", "slope", "scale") else value_names[0] for role in roles
        }
        nodes.append(Node(op, inputs, value, draw(arithmetics)))
    folds = st.none() | st.builds(Fold, triples, pairs, pairs, pads)
    image = Port(draw(names), values[0].name, draw(axes), draw(folds))
    outputs = tuple(Port(draw(names), name, draw(axes)) for name in value_names[-2:])
    constants: dict[str, Constant] = {constant_name: np.zeros(draw(st.tuples(*[st.integers(1, 3)] * 2)), np.float32)}
    return Graph(draw(names), (values[0],), tuple(nodes), constants, (image,), outputs)


@given(graphs())
def test_every_graph_round_trips(graph: Graph) -> None:
    assert parse_graph(print_graph(graph), graph.constants) == graph


def test_an_ill_formed_graph_still_prints() -> None:
    graph = replace(quantized_graph(), values=())
    assert 'input "image" = %image (N, H, W, C)' in print_graph(graph)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("Conv(", "Blur(", "no operator Blur"),
        ("kernel=(3, 3)", "kernel=open('x')", "not an attribute"),
        ('output "', 'outptu "', "not a line"),
        ("[int5bfp/16 r7 e-4]", "[float]", "not a format"),
        ("constant @b : 16", "constant @b : 17", "payload of constant b is 16"),
        ("constant @b", "constant @c", "no payload for constant c"),
        ("pads=(1", "sdap=(1", "sdap"),
    ],
)
def test_text_that_is_not_a_graph_is_refused(before: str, after: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse_graph(QUANTIZED.replace(before, after, 1), quantized_graph().constants)
