"""Tensors from outside the accelerator as feature maps: which of their axes are channels, height and width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import onnx_ir
from onnx_ir import DataType

from bfpc.errors import ModelError
from bfpc.frontend.tensor import CHANNELS_FIRST, CHANNELS_LAST, Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import Axes

AXES_OF_RANK: Mapping[int, Axes] = {2: ("N", "C"), 3: ("N", "H", "W"), 4: CHANNELS_FIRST}
FED_TYPES = (DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE)  # what NumPy and onnxruntime exchange
TO_CHANNELS_FIRST = (0, 3, 1, 2)
ELEMENTWISE = frozenset(("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Neg", "Relu", "Sub"))


def input_tensors(model: onnx_ir.Model, path: Path) -> list[Tensor]:
    """The network's inputs that are feature maps, in order; the others are left to the host.

    Raises ModelError where the network has no input at all.
    """
    if not model.graph.inputs:
        raise ModelError("the model has no input", where=str(path), fix="export the network with its input")
    tensors = []
    for value in model.graph.inputs:
        with suppress(Unsupported):
            tensors.append(map_tensor(value))
    return tensors


def map_tensor(value: onnx_ir.Value) -> Tensor:
    """A tensor that the accelerator did not make as a batch of feature maps; raises Unsupported where it is none."""
    if value.dtype not in FED_TYPES:
        kind = "an unknown type" if value.dtype is None else f"type {value.dtype.name}"
        raise Unsupported(f"its input {value.name} is of {kind}, not a feature map", "make it float32")
    shape = value.shape
    if shape is None or not shape.is_static():
        raise Unsupported(f"the shape of its input {value.name} is known only at run time", "make the shape a constant")
    sizes = shape.numpy()
    if len(sizes) not in AXES_OF_RANK or 0 in sizes:
        fix = "the accelerator takes [N, C, H, W], [N, H, W, C], [N, H, W] or [N, C]"
        raise Unsupported(f"its input {value.name} has shape {list(sizes)}", fix)
    axes = CHANNELS_LAST if len(sizes) == 4 and _becomes_channels_first(value) else AXES_OF_RANK[len(sizes)]
    return laid_out(str(value.name), sizes, axes)


def laid_out(name: str, shape: Sequence[int], axes: Axes) -> Tensor:
    """A tensor of `shape` whose axes are N and some of C, H and W."""
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
