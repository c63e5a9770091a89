"""Host segments as ONNX graphs that can be merged into one: of one operator set, and with names of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx.inliner
import onnx.version_converter

from bfpc.errors import ModelError
from bfpc.ir.partition import HostSegment

OLDEST_OPSET = 13  # that the emulator's own graph can be written in


@dataclass(frozen=True)
class HostGraph:
    """graph: the segment's nodes under names with a prefix. inputs, outputs: what it declares, by original name."""

    stage: int
    graph: onnx.GraphProto
    prefix: str
    inputs: Mapping[str, onnx.ValueInfoProto]
    outputs: Mapping[str, onnx.ValueInfoProto]


@dataclass(frozen=True)
class HostGraphs:
    """All segments in one opset. domains: versions of the operator sets that they use beside ONNX's own."""

    segments: tuple[HostGraph, ...]
    opset: int
    domains: Mapping[str, int]


def load_host(host: Sequence[HostSegment], default_opset: int, taken: Collection[str]) -> HostGraphs:
    """taken: names that no inner name of a segment may have. `default_opset` is chosen where there is no segment.

    Raises ModelError where onnx cannot convert a segment to the newest opset among them.
    """
    models = [_inlined(onnx.load_model_from_string(segment.model)) for segment in host]
    opset = max([OLDEST_OPSET, *map(_opset, models)]) if models else default_opset
    start = "host/"
    while any(name.startswith(start) for name in taken):
        start = f"_{start}"
    segments = [
        _prepared(_converted(model, opset).graph, segment.stage, f"{start}{index:02}/")
        for index, (segment, model) in enumerate(zip(host, models, strict=True))
    ]
    entries = [entry for model in models for entry in model.opset_import]
    domains = {entry.domain: entry.version for entry in entries if entry.domain not in ("", "ai.onnx")}
    return HostGraphs(tuple(segments), opset, domains)


def _prepared(graph: onnx.GraphProto, stage: int, prefix: str) -> HostGraph:
    inputs, outputs = ({info.name: _copy(info) for info in infos} for infos in (graph.input, graph.output))
    _rename(graph, prefix, {})
    return HostGraph(stage, graph, prefix, inputs, outputs)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OLDEST_OPSET)


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    if _opset(model) == opset:
        return model
    bodies = [node.op_type for node in model.graph.node if any(_bodies(node))]
    if bodies:  # onnx leaves what they hold as it is
        raise _cannot_convert(model, opset, f"the bodies of {', '.join(bodies)} are not supported")
    try:
        return onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, onnx.version_converter.ConvertError, onnx.shape_inference.InferenceError) as error:
        raise _cannot_convert(model, opset, str(error).rsplit("failed: ", maxsplit=1)[-1]) from None


def _cannot_convert(model: onnx.ModelProto, opset: int, reason: str) -> ModelError:
    what = f"onnx cannot convert what the host computes from opset {_opset(model)} to {opset}: {reason}"
    operators = ", ".join(sorted({node.op_type for node in model.graph.node}))
    fix = f"export the original network with opset {OLDEST_OPSET} or newer, and compile it again"
    return ModelError(what, where=f"host segment of {operators}", fix=fix)


def _copy(info: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(info)
    return copy


def _rename(graph: onnx.GraphProto, prefix: str, outer: Mapping[str, str]) -> None:
    """Puts a prefix before every name that the graph defines; bodies of control flow follow the names around them."""
    defined = [info.name for info in (*graph.input, *graph.initializer)]
    defined += [name for node in graph.node for name in node.output if name]
    names = {**outer, **{name: prefix + name for name in defined}}
    for info in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        info.name = names.get(info.name, info.name)
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in _bodies(node):
            _rename(body, prefix, names)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
