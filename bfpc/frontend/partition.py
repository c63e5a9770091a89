"""Divides a network between the accelerator and the host, in stages that alternate as rarely as possible.

Conv -> TopK -> Conv -> Softmax      ->      accelerator stage 0: Conv; host segment of stage 1: TopK;
                                             accelerator stage 1: Conv; host segment of stage 2: Softmax
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import TypeVar

import onnx_ir

from bfpc.frontend.classification import Classification, classify
from bfpc.frontend.islands import find_islands
from bfpc.frontend.segments import operands
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.graph import Graph, Port, Value

Task = TypeVar("Task", bound=Hashable)


@dataclass(frozen=True)
class Partition:
    """graph: what the accelerator computes; without nodes if that is nothing. stages: of the nodes in `found.host`."""

    found: Classification
    graph: Graph
    stages: Mapping[onnx_ir.Node, int]


def partition(name: str, graph: onnx_ir.Graph, inputs: Sequence[Tensor]) -> Partition:
    """Divides an ONNX graph; `inputs` are the network inputs that are maps, `name` is the network's."""
    forced: dict[onnx_ir.Node, Unsupported] = {}
    divided = _divide(name, graph, classify(graph, inputs, forced))
    while islands := find_islands(divided.graph, divided.found):
        forced |= islands
        without = _divide(name, graph, classify(graph, inputs, forced))
        if not without.graph.nodes:
            break
        divided = without
    return divided


def schedule(reads: Mapping[Task, Collection[Task]], host: Collection[Task]) -> dict[Task, int]:
    """The stage of every task: the host's of a stage make one segment, which runs before the accelerator's of it.

    reads: for each task those whose results it needs. host: the host's tasks; the others are the accelerator's. What
    is ready runs on one device, then on the other, and so on; the device begins with which there are fewer segments.
    """

    def turns(stages: Mapping[Task, int]) -> list[int]:
        return [
            len({stage for task, stage in stages.items() if (task in host) == on_host}) for on_host in (True, False)
        ]

    return min((_stages(reads, host, host_begins) for host_begins in (True, False)), key=turns)


def _stages(reads: Mapping[Task, Collection[Task]], host: Collection[Task], host_begins: bool) -> dict[Task, int]:
    turns: dict[Task, int] = {}
    for task in TopologicalSorter(reads).static_order():
        earliest = max((turns[read] for read in reads[task]), default=0)
        first = int((task in host) != host_begins)
        turns[task] = earliest + (earliest - first) % 2
    return {task: (turn + (not host_begins)) // 2 for task, turn in turns.items()}


def _divide(name: str, graph: onnx_ir.Graph, found: Classification) -> Partition:
    """Schedules the nodes, and makes the accelerator's graph."""
    accelerated = _accelerated(name, graph, found)
    made_by_host = {str(value.name): node for node in found.host for value in node.outputs}
    reads: dict[onnx_ir.Node | str, list[onnx_ir.Node | str]] = {}
    for node in found.host:
        makers = map(found.maker, operands(node))
        reads[node] = [maker for maker in makers if maker is not None]
    for layer in accelerated.nodes:
        read = [name for name in layer.inputs.values() if name in found.origins or name in made_by_host]
        reads[layer.name] = [name if name in found.origins else made_by_host[name] for name in read]
    stages = schedule(reads, found.host)
    inputs = [replace(port, stage=stages.get(made_by_host.get(port.name, ""), 0)) for port in accelerated.inputs]
    return Partition(found, replace(accelerated, inputs=tuple(inputs)), {node: stages[node] for node in found.host})


def _accelerated(name: str, graph: onnx_ir.Graph, found: Classification) -> Graph:
    """The accelerator's graph: of its outputs first those of the network, of its inputs, too."""
    tensors, nodes = found.net.tensors, found.net.nodes
    wanted = [*graph.outputs, *(value for node in found.host for value in operands(node))]
    outputs = dict.fromkeys(str(value.name) for value in wanted if isinstance(found.maker(value), str))
    ports = tuple(Port(output, tensors[output].value, tensors[output].axes) for output in outputs)
    needed = Graph(name, (), tuple(nodes), found.net.constants, (), ports).pruned()
    read = {operand for node in needed.nodes for operand in node.inputs.values()} - found.origins.keys()
    values = [*graph.inputs, *(value for node in found.host for value in node.outputs)]
    inputs = [tensors[str(value.name)] for value in values if str(value.name) in read]
    return replace(
        needed,
        values=tuple(Value(tensor.value, tensor.map_shape) for tensor in inputs),
        inputs=tuple(Port(tensor.value, tensor.value, tensor.axes) for tensor in inputs),
    )
