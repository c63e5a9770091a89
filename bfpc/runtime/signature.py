"""What a network takes and gives, as its ONNX model declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from bfpc.data import Array, InputSpec
from bfpc.errors import ModelError
from bfpc.ir.graph import Graph
from bfpc.ir.layout import Axes

ELEMENT_NAMES = {"float32": "float", "float64": "double", "object": "string"}  # where ONNX has other names than NumPy
PICTURE_AXES: tuple[Axes, ...] = (("N", "C", "H", "W"), ("N", "H", "W", "C"))

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output. `shape` holds numbers, names and None for what is not known; `type` is as `tensor(float)`."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]

    @property
    def type(self) -> str:
        return f"tensor({ELEMENT_NAMES.get(self.dtype.name, self.dtype.name)})"

    def __str__(self) -> str:
        return f"{self.name}: {self.type} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True)
class Signature:
    """A network's inputs and outputs. declared_batch: how many images it takes at a time; None for any number."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    declared_batch: int | None

    @property
    def batch(self) -> int:
        """How many images run at a time."""
        return self.declared_batch or 1

    def takes_images(self, info: TensorInfo) -> bool:
        """Whether the first axis of an input is that of the images; if not, the input is the same for all."""
        first = info.shape[0] if info.shape else 0
        return first == self.declared_batch if isinstance(first, int) else True


def read_signature(model: onnx.ModelProto, graph: Graph) -> Signature:
    """The signature of the model that `graph` was made from. Raises ModelError where it takes or gives no tensor."""
    constants = {constant.name for constant in model.graph.initializer}
    inputs = tuple(_info(value) for value in model.graph.input if value.name not in constants)
    maps = {port.name for port in graph.inputs}
    first_axes = [info.shape[0] for info in sorted(inputs, key=lambda info: info.name not in maps) if info.shape]
    any_number = any(not isinstance(size, int) for size in first_axes)
    batch = None if any_number else next((size for size in first_axes if isinstance(size, int)), 1)
    return Signature(inputs, tuple(_info(value) for value in model.graph.output), batch)


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    if not value.type.HasField("tensor_type"):
        what, fix = "the input or output is no tensor", "remove it from the model, or convert it to tensors there"
        raise ModelError(what, where=value.name, fix=fix)
    tensor = value.type.tensor_type
    shape = tuple(
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or None
        for dimension in tensor.shape.dim
    )
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        what, fix = f"the input or output has the unknown element type {tensor.elem_type}", "export the network again"
        raise ModelError(what, where=value.name, fix=fix) from None
    return TensorInfo(value.name, shape, dtype)


def input_specs(signature: Signature, graph: Graph) -> list[InputSpec]:
    """The network's inputs as data must fit them, in the element types that the model declares."""
    ports = {port.name: port for port in graph.inputs if port.stage == 0}
    specs = []
    for info in signature.inputs:
        sizes = tuple(size if isinstance(size, int) else 1 for size in info.shape)
        per_image = signature.takes_images(info)
        shape = (1, *sizes[1:]) if per_image else sizes
        axes = ports[info.name].axes if info.name in ports else _picture_axes(shape)
        specs.append(InputSpec(info.name, shape, axes, info.dtype, per_image))
    return specs


def batch_indices(signature: Signature, start: int, images: int) -> list[int]:
    """As many of `images` as the model takes at a time, from `start` on; the last one fills up what is missing."""
    return [min(index, images - 1) for index in range(start, start + signature.batch)]


def first_images(signature: Signature, tensor: Array, images: int) -> Array:
    """The images of a batch that count; all of a tensor that has no axis of images."""
    return tensor[:images] if tensor.shape[:1] == (signature.batch,) else tensor


def take_batch(signature: Signature, feeds: Tensors, start: int) -> dict[str, Array]:
    """The images of `batch_indices` of an array for each input."""
    taken = dict(feeds)
    for info in signature.inputs:
        if signature.takes_images(info):
            images = feeds[info.name]
            taken[info.name] = images[batch_indices(signature, start, len(images))]
    return taken


def _picture_axes(shape: tuple[int, ...]) -> Axes:
    """The layout of an input that only the host reads, where it looks like pictures."""
    fitting = (axes for axes in PICTURE_AXES if len(shape) == len(axes) and shape[axes.index("C")] in (1, 3))
    return next(fitting, ())
