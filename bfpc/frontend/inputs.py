"""The network's inputs as feature maps: which of their axes are channels, height and width."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx_ir
from onnx_ir import DataType

from bfpc.errors import ModelError
from bfpc.frontend.tensor import CHANNELS_FIRST, CHANNELS_LAST, Tensor
from bfpc.ir.layout import Axes

AXES_OF_RANK: Mapping[int, Axes] = {2: ("N", "C"), 3: ("N", "H", "W"), 4: CHANNELS_FIRST}
FED_TYPES = (DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE)  # what NumPy and onnxruntime exchange
TO_CHANNELS_FIRST = (0, 3, 1, 2)
ELEMENTWISE = frozenset(("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Neg", "Relu", "Sub"))


def input_tensors(model: onnx_ir.Model, path: Path) -> list[Tensor]:
    """The network's inputs, in order; raises ModelError for what is not a batch of feature maps."""
    tensors = [_input_tensor(value, path) for value in model.graph.inputs]
    if not tensors:
        raise ModelError("the model has no input", where=str(path), fix="export the network with its input")
    if len({tensor.batch for tensor in tensors}) > 1:
        sizes = ", ".join(f"{tensor.value} {tensor.batch}" for tensor in tensors)
        raise ModelError(f"the inputs have different batch sizes: {sizes}", where=str(path), fix="use one batch size")
    return tensors


def _input_tensor(value: onnx_ir.Value, path: Path) -> Tensor:
    name, where = str(value.name), f"{path}, input {value.name}"
    if value.dtype not in FED_TYPES:
        kind = "unknown" if value.dtype is None else value.dtype.name
        raise ModelError(f"the input is of type {kind}", where=where, fix="export the network with a float32 input")
    shape = () if value.shape is None else value.shape.numpy()
    if len(shape) not in AXES_OF_RANK:
        fix = "the accelerator takes [N, C, H, W], [N, H, W, C], [N, H, W] or [N, C]"
        raise ModelError(f"the input has shape {list(shape)}", where=where, fix=fix)
    axes = CHANNELS_LAST if len(shape) == 4 and _becomes_channels_first(value) else AXES_OF_RANK[len(shape)]
    sizes = dict(zip(axes, shape, strict=True))
    return Tensor(name, (sizes.get("C", 1), sizes.get("H", 1), sizes.get("W", 1)), axes, sizes["N"])


def _becomes_channels_first(value: onnx_ir.Value) -> bool:
    """Whether every way from the input leads, through elementwise operators, to a Transpose to channels first."""
    nodes = [use.node for use in value.uses()]
    return bool(nodes) and all(
        tuple(node.attributes.get_ints("perm") or ()) == TO_CHANNELS_FIRST
        if node.op_type == "Transpose"
        else node.op_type in ELEMENTWISE and _becomes_channels_first(node.outputs[0])
        for node in nodes
    )
