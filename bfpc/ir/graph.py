"""The graph: values and nodes in topological order, immutable, with `check()` to hold after every pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.layout import Axes, Fold
from bfpc.ir.operators import Conv, Layer, Operator
from bfpc.ir.shapes import output_shape
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import LayerArithmetic

Shape = tuple[int, int, int]
Constant = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.int16] | BfpTensor


class GraphError(AssertionError):
    """A pass left an invalid graph: a bug of the compiler. The pipeline notes the pass and the graph."""


@dataclass(frozen=True)
class Value:
    """A feature map: its name, (channels, height, width), and its format once assigned."""

    name: str
    shape: Shape
    format: BfpFormat | None = None


@dataclass(frozen=True)
class Node:
    """One operator with named inputs, which are values or constants, and one output, whose name is the node's.

    `arithmetic` holds a quantized layer's integer parameters.
    """

    op: Operator
    inputs: Mapping[str, str]
    output: Value
    arithmetic: LayerArithmetic | None = None

    @property
    def name(self) -> str:
        return self.output.name

    @property
    def layer(self) -> Layer:
        """The operator of a node that the accelerator computes."""
        assert isinstance(self.op, Layer), f"{self.name} is no layer"
        return self.op

    @property
    def streams(self) -> bool:
        """Whether the accelerator hands the map to the layer behind, and never stores it."""
        return isinstance(self.op, Conv) and self.op.streams


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: its ONNX name, the value that carries it, and how ONNX lays that value out.

    stage: from which stage on an input is there (see `ir.partition`); 0 for the network's own.
    """

    name: str
    value: str
    axes: Axes
    fold: Fold | None = None
    stage: int = 0

    def map_shape(self, value: Value) -> Shape:
        """(channels, height, width) of the map that ONNX knows, where `value` carries this port."""
        return value.shape if self.fold is None else self.fold.source


@dataclass(frozen=True)
class Graph:
    """A network. `values` are the network's inputs as feature maps; nodes stand in topological order."""

    name: str
    values: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    _index: dict[str, Value] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {value.name: value for value in self.values} | {node.name: node.output for node in self.nodes}
        object.__setattr__(self, "_index", index)

    def value(self, name: str) -> Value:
        return self._index[name]

    def is_value(self, name: str) -> bool:
        return name in self._index

    def array(self, name: str) -> NDArray[Any]:
        """A constant that has not been quantized, as an array."""
        constant = self.constants[name]
        assert isinstance(constant, np.ndarray), f"{name} is quantized"
        return constant

    def format(self, name: str) -> BfpFormat:
        """The format of a value that has been given one."""
        assigned = self.value(name).format
        assert assigned is not None, f"{name} has no format"
        return assigned

    def weight(self, node: Node) -> BfpTensor | None:
        """The quantized weights of a layer; None for a Pass."""
        if "weight" not in node.inputs:
            return None
        weight = self.constants[node.inputs["weight"]]
        assert isinstance(weight, BfpTensor), f"{node.name} is not quantized"
        return weight

    def producer(self, name: str) -> Node | None:
        """The node that makes a value; None for a network input."""
        return next((node for node in self.nodes if node.name == name), None)

    def consumers(self) -> dict[str, list[Node]]:
        """For each value the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {name: [] for name in self._index}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs.values()):
                if name in readers:
                    readers[name].append(node)
        return readers

    @property
    def read_once(self) -> frozenset[str]:
        """The values that a single node reads, and no user of the network."""
        return frozenset(name for name, nodes in self.consumers().items() if len(nodes) == 1) - self.output_names

    @property
    def output_names(self) -> frozenset[str]:
        return frozenset(port.value for port in self.outputs)

    @property
    def layers(self) -> Iterator[Node]:
        """The nodes that the accelerator computes, each in one entry of the program."""
        return (node for node in self.nodes if isinstance(node.op, Layer))

    @property
    def runs(self) -> list[tuple[Node, ...]]:
        """The layers by when they run: one that streams its map together with the one behind it, others alone."""
        runs: list[tuple[Node, ...]] = []
        for node in self.layers:
            if runs and runs[-1][-1].streams:
                runs[-1] = (*runs[-1], node)
            else:
                runs.append((node,))
        return runs

    @property
    def shared_weights(self) -> frozenset[str]:
        """The weights that several layers read."""
        names = [node.inputs["weight"] for node in self.layers if "weight" in node.inputs]
        return frozenset(name for name in names if names.count(name) > 1)

    @property
    def stages(self) -> dict[str, int]:
        """The stage in which each value is made: the first in which all that it depends on is there."""
        stages = {port.value: port.stage for port in self.inputs}
        for node in self.nodes:
            stages[node.name] = max(stages[name] for name in node.inputs.values() if name in stages)
        return stages

    def check(self) -> Graph:
        """Returns the graph itself, or raises GraphError where it is not well formed."""
        defined = {value.name for value in self.values}
        if len(defined) != len(self.values):
            raise GraphError("two network inputs share a name")
        for node in self.nodes:
            if node.name in defined:
                raise GraphError(f"{node.name} is defined twice")
            _check_inputs(node, defined | self.constants.keys())
            shapes = {role: self._shape(name) for role, name in node.inputs.items()}
            expected = output_shape(node.op, shapes)
            if expected != node.output.shape:
                raise GraphError(f"{node.name} has shape {node.output.shape}, its operator makes {expected}")
            defined.add(node.name)
        for port in (*self.inputs, *self.outputs):
            if port.value not in defined:
                raise GraphError(f"{port.name} is carried by {port.value}, which nothing defines")
        return self

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in self._index:
            return self._index[name].shape
        constant = self.constants[name]
        return constant.mantissas.shape if isinstance(constant, BfpTensor) else constant.shape

    def with_nodes(self, nodes: Iterable[Node], constants: Mapping[str, Constant] | None = None) -> Graph:
        """The same graph with other nodes, without the constants and nodes that no output needs any more."""
        return replace(self, nodes=tuple(nodes), constants=constants or self.constants).pruned()

    def pruned(self) -> Graph:
        needed, kept = set(self.output_names), []
        for node in reversed(self.nodes):
            if node.name in needed:
                kept.append(node)
                needed.update(node.inputs.values())
        constants = {name: array for name, array in self.constants.items() if name in needed}
        return replace(self, nodes=tuple(reversed(kept)), constants=constants)


def _check_inputs(node: Node, defined: set[str]) -> None:
    declared = node.op.INPUTS
    if declared == ("x*",):
        roles = [f"x{i}" for i in range(len(node.inputs))]
        required = set(roles)
    else:
        roles = [role.rstrip("?") for role in declared]
        required = {role for role in declared if not role.endswith("?")}
    if not required <= node.inputs.keys() <= set(roles):
        raise GraphError(f"{node.name}: {type(node.op).__name__} takes {declared}, got {tuple(node.inputs)}")
    for name in node.inputs.values():
        if name not in defined:
            raise GraphError(f"{node.name} reads {name}, which nothing before it defines")
