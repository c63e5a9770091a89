"""From a file to a checked model: one image (or the model's fixed batch), constants folded, shapes inferred."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes import Sequential, common
from onnxscript.optimizer import fold_constants_ir

from bfpc.errors import ModelError, first_line
from bfpc.frontend.normalizing import normalize
from bfpc.frontend.shape_check import check_shapes
from bfpc.frontend.stored_tensors import check_tensors, check_text

OLDEST_OPSET = 7
MAX_ELEMENTS = 1 << 30  # of a tensor for one image: 4 GiB in float32
CONTROL_FLOW = frozenset(("If", "Loop", "Scan"))
SHAPELESS = frozenset(("GroupNormalization", "MeanVarianceNormalization"))  # ONNX doesn't say that they keep shapes
EXPORT_AGAIN = "export the network again, or check it with onnx.checker.check_model"


def load_model(path: Path) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Reads a model with its external data, normalized, and notes on what that changed; raises ModelError."""
    if not path.exists():
        raise ModelError("there is no such model", where=str(path), fix="check the path")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ModelError(f"the model is {what}", where=str(path), fix="name an .onnx file")
    try:
        model = onnx.load(path, format="protobuf")
    except DecodeError:
        fix = "the file is truncated or of another kind: copy or export it again"
        raise ModelError("the file is not an ONNX model", where=str(path), fix=fix) from None
    except (OSError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        fix = "make the file and its external data readable, next to each other"
        raise ModelError(f"the model cannot be read: {error}", where=str(path), fix=fix) from None
    if not model.graph.node:
        raise ModelError("the model holds no network, or the file is empty", where=str(path), fix=EXPORT_AGAIN)
    _check_opset(model, path)
    check_text(model.graph, path)
    check_tensors(model, path)
    with as_model_error("onnx cannot read the model", path):
        return normalize(model)


@contextmanager
def as_model_error(what: str, path: Path) -> Iterator[None]:
    """Around a call of onnx, onnx_ir or onnxscript: what they raise on a model that is not valid is not documented."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what}: {first_line(error)}", where=str(path), fix=EXPORT_AGAIN) from error


def _check_opset(model: onnx.ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), newest)
    if not OLDEST_OPSET <= opset <= newest:
        fix = f"export it with an opset from {OLDEST_OPSET} to {newest}, or convert it with onnx.version_converter"
        raise ModelError(f"the model has opset {opset}", where=str(path), fix=fix)


def simplify(model: onnx.ModelProto, path: Path) -> onnx_ir.Model:
    """The model with static shapes, without constant nodes, functions and dead nodes. Tensors keep their names."""
    _check_operands(model.graph, path)
    static = _with_static_inputs(model, path)
    check_shapes(static, path)
    try:
        inferred = _inferred(static)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1]
        what = f"the shapes of the model contradict each other: {reason}"
        raise ModelError(what, where=str(path), fix=EXPORT_AGAIN) from None
    except (onnx.checker.ValidationError, RuntimeError, ValueError, TypeError) as error:  # the latter from onnx's C++
        raise ModelError(
            f"the model is not valid ONNX: {first_line(error)}", where=str(path), fix=EXPORT_AGAIN
        ) from None
    with as_model_error("the constants of the model cannot be computed", path):
        folded = _fold_constants(onnx_ir.serde.deserialize_model(inferred))
    _check_elements(folded.graph, path)
    return folded


def _check_elements(graph: onnx_ir.Graph, path: Path) -> None:
    """Raises ModelError where a tensor is larger than any network's: a few bytes may stand for any number of them."""
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if _elements(value) > MAX_ELEMENTS:
            what = f"the tensor {value.name} of shape {value.shape} has more than {MAX_ELEMENTS:,} elements"
            raise ModelError(what, where=str(path), fix="export the network for smaller inputs")


def _elements(value: onnx_ir.Value) -> int:
    """How many elements a tensor has; 0 where that is not known."""
    return math.prod(value.shape.numpy()) if value.shape is not None and value.shape.is_static() else 0


def _is_foldable(node: onnx_ir.Node) -> bool:
    """Whether a node's outputs are of a size to be computed now, if it reads constants only."""
    return all(_elements(value) <= MAX_ELEMENTS for value in node.outputs)


def _check_operands(graph: onnx.GraphProto, path: Path, outer: frozenset[str] = frozenset()) -> None:
    """Raises ModelError where a node reads what nothing has made before it. outer: names that a body may read."""
    makers = {name: node for node in graph.node for name in node.output}
    known = {*outer, *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    known.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        for name in (name for name in node.input if name and name not in known):
            reader = f"node {node.name or ', '.join(node.output)} ({node.op_type}) reads the tensor {name}"
            what, fix = f"{reader}, which nothing makes", "add it as an input or a constant, or remove the node"
            if maker := makers.get(name):
                what = f"{reader}, which only node {maker.name or name} ({maker.op_type}) after it makes"
                fix = "put the nodes in the order in which they run; if there is none, break the cycle"
            raise ModelError(what, where=str(path), fix=fix)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _check_operands(body, path, frozenset(known))
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            fix = "remove the output, or add what makes it"
            raise ModelError(f"nothing makes the output {value.name}", where=str(path), fix=fix)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all shapes that ONNX can tell, checked. For that, an Identity stands for each shapeless operator.

    Its outputs may be without shapes: what needs one demands it.
    """
    standing = onnx.ModelProto()
    standing.CopyFrom(model)
    for node in standing.graph.node:
        if node.op_type in SHAPELESS and node.domain in ("", "ai.onnx"):
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    inferred = onnx.shape_inference.infer_shapes(standing, check_type=True, strict_mode=True)
    standing.CopyFrom(inferred)
    for value in standing.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(standing)
    for node, original in zip(inferred.graph.node, model.graph.node, strict=True):
        node.CopyFrom(original)
    return inferred


def _fold_constants(model: onnx_ir.Model) -> onnx_ir.Model:
    before = Sequential(common.InlinePass(), common.RemoveInitializersFromInputsPass(), common.RemoveUnusedNodesPass())
    lift = common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    after = Sequential(lift, common.RemoveUnusedNodesPass())
    model = before(model).model
    fold_constants_ir(model, onnx_shape_inference=True, should_fold=_is_foldable, output_size_limit=MAX_ELEMENTS)
    return after(model).model


def _keep_declarations(model: onnx.ModelProto) -> None:
    """Drops the shapes that are inferred anew, for one image; keeps those that depend on a body or that users know."""
    nodes = model.graph.node
    foreign = {name for node in nodes if not onnx.defs.has(node.op_type, node.domain) for name in node.output}
    bodies = {name for node in nodes if node.op_type in CONTROL_FLOW for name in node.output}
    declared = [value for value in model.graph.value_info if value.name in foreign | bodies]
    for value in declared:
        dims = value.type.tensor_type.shape.dim
        if value.name in foreign and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    del model.graph.value_info[:]
    model.graph.value_info.extend(declared)


def _with_static_inputs(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A copy where a symbolic batch is one image; raises ModelError for other symbolic axes, naming them."""
    static = onnx.ModelProto()
    static.CopyFrom(model)
    _keep_declarations(static)
    for tensor in static.graph.output:
        for dim in tensor.type.tensor_type.shape.dim:
            dim.Clear()
    constants = {tensor.name for tensor in static.graph.initializer}
    inputs = [tensor for tensor in static.graph.input if tensor.name not in constants]
    for tensor in inputs:
        if not tensor.type.tensor_type.HasField("shape"):
            raise ModelError(f"the input {tensor.name} has no shape", where=str(path), fix="export it with its shape")
        for dim in tensor.type.tensor_type.shape.dim[:1]:
            dim.dim_value = max(1, dim.dim_value)
    _check_sizes(inputs, path)
    return static


def _check_sizes(inputs: Sequence[onnx.ValueInfoProto], path: Path) -> None:
    """Raises ModelError, naming the axes, where inputs are empty or of sizes known only at run time."""
    axes = [(dim, axis, tensor.name) for tensor in inputs for axis, dim in enumerate(tensor.type.tensor_type.shape.dim)]
    empty = [f"axis {axis} of {name}" for dim, axis, name in axes if dim.HasField("dim_value") and not dim.dim_value]
    symbolic = [
        f"axis {axis} ({dim.dim_param or 'unknown'}) of {name}" for dim, axis, name in axes if dim.dim_value <= 0
    ]
    if empty:
        fix = "export the network with inputs that hold something"
        raise ModelError("the size of an input is zero: " + ", ".join(empty), where=str(path), fix=fix)
    if symbolic:
        fix = f"set it: python -m onnxruntime.tools.make_dynamic_shape_fixed {_fixing(inputs)} {path} fixed.onnx"
        raise ModelError("the size of an input is symbolic: " + ", ".join(symbolic), where=str(path), fix=fix)


def _fixing(inputs: Sequence[onnx.ValueInfoProto]) -> str:
    """Options that fix the first shape with a symbolic axis, whose name is to be replaced by a size."""
    for tensor in inputs:
        dims = tensor.type.tensor_type.shape.dim
        if any(dim.dim_value <= 0 for dim in dims):
            sizes = [str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "SIZE" for dim in dims]
            return f"--input_name {tensor.name} --input_shape {','.join(sizes)}"
    return ""
