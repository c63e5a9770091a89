"""From a file to a checked model: one image (or the model's fixed batch), constants folded, shapes inferred."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes import Sequential
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir

from bfpc.errors import ModelError

OLDEST_OPSET = 7
NO_SIZE_LIMIT = 1 << 40
EXPORT_AGAIN = "export the network again, or check it with onnx.checker.check_model"


def load_model(path: Path) -> onnx.ModelProto:
    """Reads and checks a model with its external data; raises ModelError where that fails."""
    if not path.exists():
        raise ModelError("there is no such model", where=str(path), fix="check the path")
    if path.is_dir():
        raise ModelError("the model is a folder", where=str(path), fix="name the .onnx file in it")
    try:
        model = onnx.load(path)
    except DecodeError:
        fix = "the file is truncated or of another kind: copy or export it again"
        raise ModelError("the file is not an ONNX model", where=str(path), fix=fix) from None
    except (OSError, onnx.checker.ValidationError, ValueError) as error:
        fix = "make the file and its external data readable, next to each other"
        raise ModelError(f"the model cannot be read: {error}", where=str(path), fix=fix) from None
    _check(model, path)
    return model


def _check(model: onnx.ModelProto, path: Path) -> None:
    if not model.graph.node:
        raise ModelError("the model holds no network", where=str(path), fix=EXPORT_AGAIN)
    newest = onnx.defs.onnx_opset_version()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), newest)
    if not OLDEST_OPSET <= opset <= newest:
        fix = f"export it with an opset from {OLDEST_OPSET} to {newest}, or convert it with onnx.version_converter"
        raise ModelError(f"the model has opset {opset}", where=str(path), fix=fix)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the model is not valid ONNX: {reason}", where=str(path), fix=EXPORT_AGAIN) from None


def simplify(model: onnx.ModelProto, path: Path) -> onnx_ir.Model:
    """The model with static shapes, without constant nodes, functions and dead nodes. Tensors keep their names."""
    static = _with_static_inputs(model, path)
    try:
        inferred = onnx.shape_inference.infer_shapes(static, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1]
        what = f"the shapes of the model contradict each other: {reason}"
        raise ModelError(what, where=str(path), fix=EXPORT_AGAIN) from None
    simplified = onnx_ir.serde.deserialize_model(inferred)
    clean = Sequential(
        passes.InlinePass(),
        passes.RemoveInitializersFromInputsPass(),
        passes.RemoveUnusedNodesPass(),
    )
    clean(simplified)
    fold_constants_ir(
        simplified, onnx_shape_inference=True, input_size_limit=NO_SIZE_LIMIT, output_size_limit=NO_SIZE_LIMIT
    )
    lift = Sequential(
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0), passes.RemoveUnusedNodesPass()
    )
    return lift(simplified).model


def _with_static_inputs(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A copy where a symbolic batch is one image; raises ModelError for other symbolic axes, naming them."""
    static = onnx.ModelProto()
    static.CopyFrom(model)
    del static.graph.value_info[:]  # these and the outputs' shapes may hold the symbolic batch
    for tensor in static.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    constants = {tensor.name for tensor in static.graph.initializer}
    symbolic = []
    for tensor in static.graph.input:
        if tensor.name in constants:
            continue
        for axis, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if dim.dim_value > 0:
                continue
            if axis == 0:
                dim.dim_value = 1
            else:
                symbolic.append(f"axis {axis} ({dim.dim_param or 'unknown'}) of {tensor.name}")
    if symbolic:
        fix = "fix it: python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name NAME --input_shape 1,3,224,224"
        raise ModelError("the size of an input is symbolic: " + ", ".join(symbolic), where=str(path), fix=fix)
    return static
