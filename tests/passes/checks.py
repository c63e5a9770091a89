"""Passes as text: what a graph looks like before and after, and that it still means the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import dedent
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bfpc.emulator.session import Emulator, folded_inputs
from bfpc.ir.graph import Constant, Graph
from bfpc.ir.layout import onnx_shape
from bfpc.ir.text import parse_graph, print_graph
from bfpc.pipeline import Pass
from tests.networks import float_reference

CONSTANT = re.compile(r"^constant @(\S+) : ([\dx]+) \[float32\]$", re.MULTILINE)


def graph_of(text: str, constants: Mapping[str, Constant] = MappingProxyType({})) -> Graph:
    """The graph that the text shows; constants that aren't given are normally distributed, each name's its own way."""
    text = 'graph "test"\n' + dedent(text)
    drawn = {name: _normal(name, shape) for name, shape in CONSTANT.findall(text)}
    return parse_graph(text, drawn | dict(constants)).check()


def _normal(name: str, shape: str) -> NDArray[np.float32]:
    return np.random.default_rng(list(name.encode())).standard_normal(
        [int(size) for size in shape.split("x")], np.float32
    )


def text_of(graph: Graph) -> str:
    """A graph as text, without the line of its name."""
    return print_graph(graph).split("\n", 1)[1]


def check_text(before: str, after: str, transform: Pass) -> None:
    """That a pass makes `after` of `before`."""
    assert text_of(transform(graph_of(before)).check()) == dedent(after)


def check(before: str, after: str, transform: Pass) -> None:
    """That a pass on the float network makes `after` of `before`, and keeps what the network computes."""
    check_text(before, after, transform)
    graph = graph_of(before)
    assert_same_outputs(graph, transform(graph))


def check_unchanged(text: str, transform: Pass) -> None:
    check(text, text_of(graph_of(text)), transform)


def assert_same_outputs(graph: Graph, transformed: Graph) -> None:
    """That two graphs of one network compute the same from random inputs."""
    inputs = random_inputs(graph)
    expected, found = float_reference.run(graph, inputs), float_reference.run(transformed, inputs)
    for name, tensor in expected.items():
        assert_close(found[name], tensor, name)


def assert_emulated(graph: Graph) -> None:
    """That the emulator computes the same as the reference, in float32, from random inputs."""
    inputs, names = random_inputs(graph), [port.value for port in graph.outputs]
    expected, found = float_reference.evaluate(graph, inputs), Emulator(graph, names).run(folded_inputs(graph, inputs))
    for name, tensor in found.items():
        assert_close(tensor, expected[name], name)


def random_inputs(graph: Graph) -> dict[str, NDArray[np.float64]]:
    """Normally distributed ONNX inputs."""
    rng = np.random.default_rng(1)
    shapes = {port.name: onnx_shape(port.axes, port.map_shape(graph.value(port.value))) for port in graph.inputs}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def assert_close(found: NDArray[np.floating], expected: NDArray[np.floating], name: str) -> None:
    """Up to what float32 constants and sums may lose."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max(), err_msg=name)
