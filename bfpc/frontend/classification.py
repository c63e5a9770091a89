"""Which nodes the accelerator computes: imports every node that it can, and leaves the others to the host.

A tensor that the host makes can come back as a feature map, where its type, its shape and its reader allow that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
import onnx_ir

from bfpc.errors import ModelError
from bfpc.frontend.builder import GraphBuilder, input_name
from bfpc.frontend.inputs import AXES_OF_RANK, laid_out, map_tensor
from bfpc.frontend.operators import IMPORTERS
from bfpc.frontend.segments import is_computed, operands
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import (
    Offence,
    Unsupported,
    refuse_custom_operator,
    refuse_layout,
    refuse_operator,
)


@dataclass
class Classification:
    """What has been imported, and what is left to the host.

    origins: for the name of each node of the graph the ONNX node it comes of. host: the nodes left to the host.
    """

    net: GraphBuilder
    origins: dict[str, onnx_ir.Node] = field(default_factory=dict)
    host: dict[onnx_ir.Node, Offence] = field(default_factory=dict)

    def maker(self, value: onnx_ir.Value) -> onnx_ir.Node | str | None:
        """What makes a tensor: a node on the host, a node of the graph by its name; None for a network input."""
        if (producer := value.producer()) in self.host:
            return producer
        tensor = self.net.tensors.get(str(value.name))
        return tensor.value if tensor is not None and tensor.value in self.origins else None


def classify(
    graph: onnx_ir.Graph, inputs: Sequence[Tensor], forced: Mapping[onnx_ir.Node, Unsupported]
) -> Classification:
    """Imports the nodes. inputs: the network inputs that are maps. forced: nodes that the host shall compute, and why.

    Raises ModelError where a node that only its users know doesn't declare what it makes.
    """
    found = Classification(GraphBuilder(_names(graph), _batch(graph, inputs), {each.value: each for each in inputs}))
    for node in graph:
        trial = found.net.fork()
        try:
            if node in forced:
                raise forced[node]
            _import(node, trial)
        except Unsupported as refusal:
            found.host[node] = _offence(node, refusal)
            continue
        found.origins.update((made.name, node) for made in trial.nodes[len(found.net.nodes) :])
        found.net = trial
    _leave_layouts(graph, found)
    found.host = {node: found.host[node] for node in graph if node in found.host}
    return found


def _names(graph: onnx_ir.Graph) -> frozenset[str]:
    values = [value for node in graph for value in node.outputs]
    return frozenset(str(value.name) for value in (*graph.inputs, *graph.initializers.values(), *values))


def _batch(graph: onnx_ir.Graph, inputs: Sequence[Tensor]) -> int:
    """The batch size: that of the first map, or where there is none, the first axis of the first input that has any."""
    shapes = (value.shape.numpy() for value in graph.inputs if value.shape is not None)
    return inputs[0].batch if inputs else next((int(shape[0]) for shape in shapes if shape), 1)


def _import(node: onnx_ir.Node, net: GraphBuilder) -> None:
    if not onnx.defs.has(node.op_type, node.domain):
        _require_declarations(node)
        raise refuse_custom_operator()
    if node.op_type not in IMPORTERS or node.domain:
        raise refuse_operator(node.op_type)
    for value in filter(is_computed, operands(node)):
        if str(value.name) not in net.tensors:
            net.tensors[str(value.name)] = _returning_tensor(value, net)
    net.tensors[str(node.outputs[0].name)] = IMPORTERS[node.op_type](node, net)
    for value in node.outputs:
        if (value.uses() or value.is_graph_output()) and str(value.name) not in net.tensors:
            raise Unsupported(f"its output {value.name} is used", "export the network for inference")


def _require_declarations(node: onnx_ir.Node) -> None:
    for value in node.outputs:
        declared = value.dtype is not None and value.shape is not None and value.shape.is_static()
        if value.uses() and not declared:
            what = f"{_operator(node)} is not of ONNX, and nothing declares the type and the shape of {value.name}"
            fix = f"add onnx.helper.make_tensor_value_info({str(value.name)!r}, type, shape) to the graph's value_info"
            raise ModelError(what, where=f"node {_name(node)}", fix=fix)


def _returning_tensor(value: onnx_ir.Value, net: GraphBuilder) -> Tensor:
    """A tensor that the host makes, as a map: laid out as its reader says, or as the first map that its maker reads."""
    tensor, producer = map_tensor(value), value.producer()
    if tensor.batch != net.batch:
        raise Unsupported(
            f"its input {value.name} has a batch of {tensor.batch}, not {net.batch}", "use one batch size"
        )
    names = [] if producer is None else [input_name(producer, index) for index in range(len(producer.inputs))]
    first = next((net.tensors[name] for name in names if name in net.tensors), None)
    is_told = tensor.axes != AXES_OF_RANK[len(tensor.axes)]  # by what reads it
    if first is None or (is_told and not _share_channels(first, tensor)):
        return tensor
    if first.is_whole and first.shape == tensor.shape and "C" in first.axes:
        return replace(first, value=tensor.value)
    return tensor if is_told or not _fits(first, tensor.shape) else laid_out(tensor.value, tensor.shape, first.axes)


def _share_channels(first: Tensor, second: Tensor) -> bool:
    """Whether the same axis of both is channels."""
    return ("C", "C") in zip(first.axes, second.axes, strict=False)


def _fits(model: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor of `shape` can be laid out as `model` is: each axis holds one of the map's."""
    named = len(set(model.axes)) == len(shape) and set(model.axes) <= set("NCHW") and model.axes[0] == "N"
    return named and len(model.axes) == len(shape)


def _leave_layouts(graph: onnx_ir.Graph, found: Classification) -> None:
    """Leaves changes of layout to the host where only the host sees them, or where no port can express them."""
    placed = {*found.host, *found.origins.values()}
    needed = {*graph.outputs, *(value for node in found.host for value in operands(node))}
    for node in reversed(graph):
        if node in placed or needed.isdisjoint(node.outputs):
            continue
        tensor = found.net.tensors[str(node.outputs[0].name)]
        if tensor.value not in found.origins or not tensor.is_whole:
            found.host[node] = _offence(node, refuse_layout())
            needed.update(operands(node))


def _offence(node: onnx_ir.Node, refusal: Unsupported) -> Offence:
    inputs = tuple(_show_shape(value) for value in operands(node) if is_computed(value))
    outputs = tuple(_show_shape(value) for value in node.outputs)
    return Offence(_name(node), _operator(node), inputs, outputs, refusal.reason, refusal.fix)


def _name(node: onnx_ir.Node) -> str:
    return node.name or str(node.outputs[0].name)


def _operator(node: onnx_ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _show_shape(value: onnx_ir.Value) -> str:
    return "?" if value.shape is None else "[" + ",".join(map(str, value.shape)) + "]"
