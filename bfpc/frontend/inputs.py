"""Tensors from outside the accelerator as feature maps: which of their axes are channels, height and width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import onnx_ir
from onnx_ir import DataType

from bfpc.errors import ModelError
from bfpc.frontend.tensor import CHANNELS_FIRST, CHANNELS_LAST, Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import Axes

AXES_OF_FIRST: Mapping[int, Axes] = {2: ("N", "C"), 3: ("N", "C", "W"), 4: CHANNELS_FIRST}
AXES_OF_LAST: Mapping[int, Axes] = {2: ("N", "C"), 3: ("N", "W", "C"), 4: CHANNELS_LAST}
AXES_OF_RANK: Mapping[int, Axes] = {2: ("N", "C"), 3: ("N", "H", "W"), 4: CHANNELS_FIRST}
FED_TYPES = (DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE)  # what NumPy and onnxruntime exchange
TO_CHANNELS_FIRST = (0, 3, 1, 2)
ELEMENTWISE = frozenset(("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Neg", "Pad", "Relu", "Sub"))
RESHAPES = frozenset(("Reshape", "Squeeze", "Unsqueeze"))
CHANNELS_FIRST_OPERATORS = frozenset(
    (
        *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool"),
        *("GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool", "SpaceToDepth"),
    )
)
CHANNELS_LAST_OPERATORS = frozenset(("LayerNormalization", "MatMul"))
AxesOfRank = Mapping[int, Axes]
Order = tuple[int | None, ...]  # for each axis of a tensor, which axis of another it is; None for one of size 1


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
        fix = "the accelerator takes [N, C, H, W], [N, H, W, C], [N, C, L], [N, H, W] or [N, C]"
        raise Unsupported(f"its input {value.name} has shape {list(sizes)}", fix)
    return laid_out(str(value.name), sizes, _axes(value, sizes))


def laid_out(name: str, shape: Sequence[int], axes: Axes) -> Tensor:
    """A tensor of `shape` whose axes are N and some of C, H and W."""
    sizes = dict(zip(axes, shape, strict=True))
    return Tensor(name, (sizes.get("C", 1), sizes.get("H", 1), sizes.get("W", 1)), axes, sizes["N"])


def _axes(value: onnx_ir.Value, sizes: Sequence[int]) -> Axes:
    """The axes that the operators which read a tensor want; by its rank, where none says or they don't agree."""
    wanted = set()
    for order, axes_of_rank in _orders(value, tuple(range(len(sizes))), set()):
        letters = dict(zip(order, axes_of_rank.get(len(order), ()), strict=False))
        wanted.add(tuple(letters.get(axis, "") for axis in range(len(sizes))))
    fitting = [axes for axes in wanted if axes[0] == "N" and all(axes[i] or sizes[i] == 1 for i in range(len(sizes)))]
    return fitting[0] if len(wanted) == len(fitting) == 1 else AXES_OF_RANK[len(sizes)]


def _orders(value: onnx_ir.Value, order: Order, seen: set[onnx_ir.Value]) -> Iterator[tuple[Order, AxesOfRank]]:
    """For each operator that the tensor reaches and that has a layout: which axis of the tensor each of its axes is."""
    if value in seen:
        return
    seen.add(value)
    for node, index in value.uses():
        if node.op_type in CHANNELS_FIRST_OPERATORS and index == 0:
            yield order, AXES_OF_FIRST
        elif _takes_channels_last(node) and index == 0:
            yield order, AXES_OF_LAST
        elif node.op_type == "Transpose":
            moved = tuple(order[int(axis)] for axis in node.attributes.get_ints("perm") or range(len(order))[::-1])
            if tuple(node.attributes.get_ints("perm") or ()) == TO_CHANNELS_FIRST:
                yield moved, AXES_OF_FIRST
            else:
                yield from _orders(node.outputs[0], moved, seen)
        elif node.op_type in RESHAPES:
            if (kept := _reshaped(order, value, node.outputs[0])) is not None:
                yield from _orders(node.outputs[0], kept, seen)
        elif node.op_type in ELEMENTWISE:
            yield from _orders(node.outputs[0], order, seen)


def _takes_channels_last(node: onnx_ir.Node) -> bool:
    """Whether a node works along the last axis of its first input, by constants."""
    if node.op_type not in CHANNELS_LAST_OPERATORS or any(value is None for value in node.inputs[:2]):
        return False
    x, constant = node.inputs[:2]
    assert x is not None
    assert constant is not None
    axis = node.attributes.get_int("axis", -1)
    return constant.const_value is not None and (axis == -1 or (x.shape is not None and axis == len(x.shape) - 1))


def _reshaped(order: Order, before: onnx_ir.Value, after: onnx_ir.Value) -> Order | None:
    """The order where a reshape only adds or removes axes of size 1."""
    if before.shape is None or after.shape is None or not after.shape.is_static():
        return None
    sizes, result = before.shape.numpy(), after.shape.numpy()
    if [size for size in sizes[1:] if size > 1] != [size for size in result[1:] if size > 1] or sizes[:1] != result[:1]:
        return None
    larger = iter([axis for axis, size in zip(order[1:], sizes[1:], strict=True) if size > 1])
    return order[0], *(next(larger) if size > 1 else None for size in result[1:])
