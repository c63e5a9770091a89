"""Reads an ONNX model into a graph of feature maps for the accelerator, and segments of it for the host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
import onnx_ir

from bfpc.errors import ModelError
from bfpc.frontend.inputs import input_tensors
from bfpc.frontend.loading import as_model_error, load_model, simplify
from bfpc.frontend.partition import Partition, partition
from bfpc.frontend.segments import is_computed, operands, segment_model
from bfpc.frontend.unsupported import model_error
from bfpc.ir.graph import Graph
from bfpc.ir.partition import HostNode, HostSegment


@dataclass(frozen=True)
class Network:
    """A model as read.

    graph: what the accelerator computes, in float32.
    model: the ONNX model, normalised, with its external data.
    host: what the host computes, in order.
    warnings: sentences for the user.
    """

    graph: Graph
    model: onnx.ModelProto
    host: tuple[HostSegment, ...]
    warnings: tuple[str, ...]


def read_model(path: Path) -> Network:
    """Reads a model; raises ModelError, with all its nodes, where none maps onto the accelerator."""
    return read_network(*load_model(path), path)


def read_network(model: onnx.ModelProto, notes: tuple[str, ...], path: Path) -> Network:
    """As `read_model`, of a normalised model that is in memory already; `path` names it in messages."""
    if model.functions:
        with as_model_error("the model's functions cannot be put in place", path):
            model = onnx.inliner.inline_local_functions(model)
    simplified = simplify(model, path)
    inputs = input_tensors(simplified, path)
    _check_outputs(simplified.graph, path)
    divided = partition(path.stem, simplified.graph, inputs)
    if not divided.graph.nodes:
        raise model_error(divided.found.host.values(), str(path))
    segments = _segments(simplified, divided, _takes_any_batch(model))
    return Network(divided.graph.check(), model, segments, (*notes, *_warnings(segments)))


def _check_outputs(graph: onnx_ir.Graph, path: Path) -> None:
    fix = "remove this output from the model"
    for value in graph.outputs:
        if not is_computed(value):
            raise ModelError(f"the output {value.name} does not depend on an input", where=str(path), fix=fix)
        if value.is_graph_input():
            raise ModelError(f"the output {value.name} is an input of the model", where=str(path), fix=fix)


def _takes_any_batch(model: onnx.ModelProto) -> bool:
    """Whether the first axis of an input is symbolic."""
    shapes = (value.type.tensor_type.shape.dim for value in model.graph.input)
    return any(dims and not dims[0].dim_value for dims in shapes)


def _segments(model: onnx_ir.Model, divided: Partition, any_batch: bool) -> tuple[HostSegment, ...]:
    stages = sorted(set(divided.stages.values()))
    return tuple(_segment(model, divided, stage, any_batch) for stage in stages)


def _segment(model: onnx_ir.Model, divided: Partition, stage: int, any_batch: bool) -> HostSegment:
    """The host's nodes of a stage. What others read of theirs are its outputs."""
    host = divided.found.host
    nodes = [node for node in model.graph if divided.stages.get(node) == stage]
    made = {value for node in nodes for value in node.outputs}
    elsewhere = {value for node in host if divided.stages[node] != stage for value in operands(node)}
    returned = {port.name for port in divided.graph.inputs}
    read = dict.fromkeys(value for node in nodes for value in operands(node) if is_computed(value))
    inputs = [value for value in read if value not in made]
    outputs = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or value in elsewhere or value.name in returned
    ]
    return HostSegment(
        stage,
        segment_model(model, nodes, inputs, outputs, any_batch=any_batch),
        tuple(str(value.name) for value in inputs),
        tuple(str(value.name) for value in outputs),
        tuple(HostNode(each.node, each.operator, each.reason, each.fix) for each in map(host.__getitem__, nodes)),
    )


def _warnings(segments: tuple[HostSegment, ...]) -> tuple[str, ...]:
    operators = Counter(node.operator for segment in segments for node in segment.nodes)
    if not operators:
        return ()
    count, parts = operators.total(), len(segments)
    nodes = f"{count} node{'s' * (count > 1)} in {parts} segment{'s' * (parts > 1)}"
    listed = ", ".join(operator if number == 1 else f"{number} {operator}" for operator, number in operators.items())
    return (f"the host computes {nodes}: {listed}. bfpc inspect --partition says why.",)
