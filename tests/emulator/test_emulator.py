"""The emulator stores the same mantissas and offsets as integers do, in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from bfpc.emulator.session import Emulator, real_values
from bfpc.ir.text import print_graph
from tests.emulator import integer_reference
from tests.emulator.random_layers import Example, random_layer


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
