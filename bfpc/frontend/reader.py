"""Reads an ONNX model into a graph of feature maps, and what the accelerator can't do at its end into an epilogue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir

from bfpc.errors import ModelError
from bfpc.frontend.builder import GraphBuilder, input_name
from bfpc.frontend.epilogue import Cut, cut_epilogue
from bfpc.frontend.inputs import input_tensors
from bfpc.frontend.loading import load_model, simplify
from bfpc.frontend.operators import IMPORTERS
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Offence, Unsupported, model_error, refuse_operator
from bfpc.ir.graph import Graph, Port, Value
from bfpc.ir.partition import HostNode, HostSegment


@dataclass(frozen=True)
class Network:
    """A model as read.

    graph: what the accelerator computes, in float32.
    model: the ONNX model as loaded, external data included.
    host: what the host computes, in order.
    warnings: sentences for the user.
    """

    graph: Graph
    model: onnx.ModelProto
    host: tuple[HostSegment, ...]
    warnings: tuple[str, ...]


def read_model(path: Path) -> Network:
    """Reads a model; raises ModelError with all nodes that do not map onto the accelerator."""
    model, notes = load_model(path)
    simplified = simplify(model, path)
    inputs = input_tensors(simplified, path)
    net = GraphBuilder(_names(simplified.graph), inputs[0].batch, {tensor.value: tensor for tensor in inputs})
    offences = _import_nodes(simplified.graph, net)
    cut = cut_epilogue(simplified, net, offences.keys())
    if cut is None:
        raise model_error(offences.values(), str(path))
    graph = _graph(path.stem, inputs, net, cut.outputs, path)
    return Network(graph, model, _segments(cut, offences.values()), (*notes, *_warnings(cut, offences.values())))


def _names(graph: onnx_ir.Graph) -> frozenset[str]:
    values = [value for node in graph for value in node.outputs]
    return frozenset(str(value.name) for value in (*graph.inputs, *graph.initializers.values(), *values))


def _import_nodes(graph: onnx_ir.Graph, net: GraphBuilder) -> dict[onnx_ir.Node, Offence]:
    """Imports every node it can; returns the nodes that do not map onto the accelerator.

    Where the layout of such a node's output can be guessed, the nodes after it are still looked at.
    """
    offences = {}
    for node in graph:
        operands = [str(value.name) for value in node.inputs if value is not None and value.const_value is None]
        known = all(name in net.tensors for name in operands)
        try:
            if node.op_type not in IMPORTERS or node.domain:
                raise refuse_operator(node.op_type)
            if known:
                net.tensors[str(node.outputs[0].name)] = IMPORTERS[node.op_type](node, net)
        except Unsupported as refusal:
            offences[node] = _offence(node, refusal)
            _guess_outputs(node, net)
    return offences


def _guess_outputs(node: onnx_ir.Node, net: GraphBuilder) -> None:
    """Assumes that an unsupported node keeps the layout of its first feature map, if its output's rank allows that."""
    first = next((tensor for i in range(len(node.inputs)) if (tensor := net.tensors.get(input_name(node, i)))), None)
    for value in node.outputs:
        shape = _static_shape(value)
        if first is None or shape is None or len(shape) != len(first.axes) or 0 in shape:
            continue
        sizes = dict(zip(first.axes, shape, strict=True))
        map_shape = (sizes.get("C", 1), sizes.get("H", 1), sizes.get("W", 1))
        guess = Tensor(str(value.name), map_shape, first.axes, net.batch)
        if guess.shape == shape:
            net.tensors[guess.value] = guess


def _offence(node: onnx_ir.Node, refusal: Unsupported) -> Offence:
    inputs = tuple(_show_shape(value) for value in node.inputs if value is not None and value.const_value is None)
    outputs = tuple(_show_shape(value) for value in node.outputs)
    name = node.name or str(node.outputs[0].name)
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return Offence(name, operator, inputs, outputs, refusal.reason, refusal.fix)


def _static_shape(value: onnx_ir.Value) -> tuple[int, ...] | None:
    shape = value.shape
    return shape.numpy() if shape is not None and shape.is_static() else None


def _show_shape(value: onnx_ir.Value) -> str:
    return "?" if value.shape is None else "[" + ",".join(map(str, value.shape)) + "]"


def _graph(name: str, inputs: Sequence[Tensor], net: GraphBuilder, outputs: Sequence[str], path: Path) -> Graph:
    fix = "remove this output from the model"
    for output in outputs:
        if output not in net.tensors:
            raise ModelError(f"the output {output} does not depend on an input", where=str(path), fix=fix)
        if net.tensors[output].value in {tensor.value for tensor in inputs}:
            raise ModelError(f"the output {output} is an input of the model", where=str(path), fix=fix)
    graph = Graph(
        name=name,
        values=tuple(Value(tensor.value, tensor.map_shape) for tensor in inputs),
        nodes=tuple(net.nodes),
        constants=net.constants,
        inputs=tuple(Port(tensor.value, tensor.value, tensor.axes) for tensor in inputs),
        outputs=tuple(Port(output, net.tensors[output].value, net.tensors[output].axes) for output in outputs),
    )
    return graph.pruned().check()


def _segments(cut: Cut, offences: Collection[Offence]) -> tuple[HostSegment, ...]:
    if cut.epilogue is None:
        return ()
    nodes = tuple(HostNode(offence.node, offence.operator, offence.reason, offence.fix) for offence in offences)
    names = ([value.name for value in tensors] for tensors in (cut.epilogue.graph.input, cut.epilogue.graph.output))
    inputs, outputs = map(tuple, names)
    return (HostSegment(1, cut.epilogue.SerializeToString(deterministic=True), inputs, outputs, nodes),)


def _warnings(cut: Cut, offences: Collection[Offence]) -> tuple[str, ...]:
    if cut.epilogue is None:
        return ()
    nodes = ", ".join(f"{offence.node} ({offence.operator})" for offence in offences)
    return (f"the host computes the end of the network: {nodes}",)
