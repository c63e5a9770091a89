"""The tensors that a model holds: all in it, each with as many elements as its shape says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from bfpc.errors import ModelError


def check_tensors(model: onnx.ModelProto, path: Path) -> None:
    """Raises ModelError where a tensor lies elsewhere, or where its data is no tensor of its type and shape.

    `onnx.load` reads external data of the model's own folder. What it leaves external is never read: whoever made the
    model could name any file.
    """
    for tensor in _tensors(model):
        where, name = str(path), tensor.name or "without a name"
        if tensor.data_location == TensorProto.EXTERNAL:
            what = f"the tensor {name} lies outside of the model, where onnx does not look for tensors"
            raise ModelError(what, where=where, fix="save the model with its tensors in it, or in a file next to it")
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # what onnx raises is not documented
            what = f"the data of the tensor {name} does not fit its type and shape {list(tensor.dims)}: {error}"
            raise ModelError(what, where=where, fix="the file is damaged: copy or export it again") from None


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
