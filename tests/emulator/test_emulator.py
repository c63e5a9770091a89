"""The emulator stores the same mantissas and offsets as integers do, in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from bfpc.emulator.session import Emulator, real_values
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.operators import Channels, Concat, Pass
from bfpc.ir.text import print_graph
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.passes.prove_accumulators import prove_accumulators
from tests.emulator import integer_reference
from tests.emulator.random_layers import AXES, Example, random_layer, random_maps

COARSE = BfpFormat(4, 4, 0, exponent=0)


def assert_same_bits(example: Example) -> None:
    graph = example.graph
    stored = Emulator(graph, ["y"], stored=True).run_stored(real_values(example.inputs))["y"]
    for image in range(len(stored.mantissas)):
        inputs = {name: integer_reference.image(maps, image) for name, maps in example.inputs.items()}
        expected = integer_reference.run(graph, inputs)["y"]
        found = integer_reference.image(stored, image)
        np.testing.assert_array_equal(found.mantissas, expected.mantissas, print_graph(graph))
        np.testing.assert_array_equal(found.offsets, expected.offsets, print_graph(graph))


@pytest.mark.parametrize("seed", range(150))
def test_random_layers(seed: int) -> None:
    assert_same_bits(random_layer(seed))


@pytest.mark.parametrize("seed", range(50))
def test_random_layers_whose_sums_exceed_a_float32_significand(seed: int) -> None:
    assert_same_bits(random_layer(seed, limits=[(12, 12)]))


def test_no_integer_has_fewer_than_0_bits() -> None:
    """A block of 0 and -1 whose LSB lies far above the output window's bottom needs no bits, not fewer."""
    maps = BfpTensor(COARSE, np.array([0, -1], np.int16).reshape(1, 2, 1, 1), np.zeros((1, 1, 1, 1), np.uint8))
    values = (Value("x", (2, 1, 1), COARSE),)
    node = Node(Pass(), {"x": "x"}, Value("y", (2, 1, 1), BfpFormat(4, 4, 7, exponent=-8)))
    ports = (Port("x", "x", AXES), Port("y", "y", AXES))
    graph = prove_accumulators(Graph("coarse", values, (node,), {}, ports[:1], ports[1:]))
    assert_same_bits(Example(graph, {"x": maps}))


@pytest.mark.parametrize(("start", "stop"), [(0, 16), (16, 32), (8, 37), (32, 37), (0, 37)])
def test_views_of_channels_are_read_and_joined(start: int, stop: int) -> None:
    """A view's last block may be the source's, which zeros fill up; a format of other blocks pads it otherwise."""
    fine, coarse = BfpFormat(5, 8, 3), BfpFormat(6, 16, 3, exponent=-1)
    shape, joined = (stop - start, 3, 2), (16 + stop - start, 3, 2)
    x = Value("x", (37, 3, 2), fine)
    nodes = (
        Node(Channels(start, stop), {"x": "x"}, Value("view", shape, fine)),
        Node(Channels(16, 32), {"x": "x"}, Value("middle", (16, 3, 2), fine)),
        Node(Pass(), {"x": "view", "residual": "view"}, Value("last", shape, fine)),
        Node(Pass(), {"x": "middle"}, Value("first", (16, 3, 2), fine)),
        Node(Concat(), {"x0": "first", "x1": "last"}, Value("joined", joined, fine)),
        Node(Pass(), {"x": "joined", "residual": "joined"}, Value("y", joined, coarse)),
    )
    ports = (Port("x", "x", AXES), Port("y", "y", AXES))
    graph = prove_accumulators(Graph("views", (x,), nodes, {}, ports[:1], ports[1:])).check()
    assert_same_bits(Example(graph, {"x": random_maps(np.random.default_rng(start), x)}))
