"""The tensors that a model holds: all in it, each with as many elements as its shape says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from bfpc.errors import ModelError

MAX_BYTES = (1 << 31) - (1 << 20)  # of a protobuf message, with room for what is no tensor


def check_tensors(model: onnx.ModelProto, path: Path) -> None:
    """Raises ModelError where a tensor lies elsewhere, or where its data is no tensor of its type and shape, or where
    they are more than onnx can hand to onnxruntime.

    `onnx.load` reads external data of the model's own folder. What it leaves external is never read: whoever made the
    model could name any file.
    """
    size = 0
    for tensor in _tensors(model):
        where, name = str(path), tensor.name or "without a name"
        if tensor.data_location == TensorProto.EXTERNAL:
            what = f"the tensor {name} lies outside of the model, where onnx does not look for tensors"
            raise ModelError(what, where=where, fix="save the model with its tensors in it, or in a file next to it")
        try:
            size += numpy_helper.to_array(tensor).nbytes
        except Exception as error:  # what onnx raises is not documented
            what = f"the data of the tensor {name} does not fit its type and shape {list(tensor.dims)}: {error}"
            raise ModelError(what, where=where, fix="the file is damaged: copy or export it again") from None
    if size > MAX_BYTES:
        what = f"the tensors of the model take {size:,} bytes, more than one ONNX message holds"
        raise ModelError(what, where=str(path), fix="export a network with fewer weights, or in float16")


def check_text(graph: onnx.GraphProto, path: Path) -> None:
    """Raises ModelError where a name is no text: protobuf then gives bytes, which no library expects."""
    names = [text for node in graph.node for text in (node.op_type, node.domain, node.name, *node.input, *node.output)]
    names += [each.name for each in (*graph.input, *graph.output, *graph.value_info, *graph.initializer)]
    if any(isinstance(name, bytes) for name in names):
        raise ModelError("a name in the model is no text", where=str(path), fix="copy or export the file again")
    for body in (body for node in graph.node for each in node.attribute for body in (each.g, *each.graphs)):
        check_text(body, path)


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for each in (*sparse, *attribute.sparse_tensors):
            yield from (each.values, each.indices)
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _of_graph(graph)
