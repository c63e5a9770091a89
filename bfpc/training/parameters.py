"""Which numbers of a model are trained, and where the compiler's passes put them.

    Conv(x, W [64, 3, 7, 7]), folded  ->  weight [64, 147, 1, 1] of the layer = W[index] * factor + offset

The passes on the float network fold, split, turn and rearrange weights. They are traced rather than written a second
time: run on a model whose weights are the digits of their own positions, they tell of every number of a layer which
weight it is. A further run with random weights proves that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from bfpc.config import Config
from bfpc.errors import TrainingError
from bfpc.frontend.reader import read_network
from bfpc.ir.graph import Graph
from bfpc.pipeline import Dump, float_passes, run_passes

TRAINED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}  # operands of each operator
MOVING = frozenset(("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))  # what may stand before them
FLOATS = frozenset((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE))
ROLES = ("weight", "bias")
DIGIT_BITS = 10  # of a position in one run: float16 holds them, and float32 after a scale and a shift
BASE = 4.0  # added to digits: no layer of ones and zeros may come about, which passes treat in their own way

Array = NDArray[np.float32]
Constants = Mapping[tuple[str, str], Array]
"""Weights and biases of layers, by the layer's name and the role."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where a constant of a layer comes from: `joined[index] * factor + offset`, element by element.

    joined: the model's tensors of these names, each flattened, one after the other; index, factor and offset have the
    constant's shape. Elements that no weight of the model reaches have the factor 0.
    """

    tensors: tuple[str, ...]
    index: NDArray[np.int64]
    factor: Array
    offset: Array


def trained_tensors(model: onnx.ModelProto) -> dict[str, Array]:
    """The initializers that are weights and biases of layers, by name."""
    makers = {name: node for node in model.graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type in FLOATS}
    names = dict.fromkeys(name for name in _operands(model, makers) if name in tensors)
    return {name: numpy_helper.to_array(tensors[name]).astype(np.float32) for name in names}


def _operands(model: onnx.ModelProto, makers: Mapping[str, onnx.NodeProto]) -> Iterator[str]:
    for node in model.graph.node:
        for name in (node.input[index] for index in TRAINED.get(node.op_type, ()) if index < len(node.input)):
            while name in makers and makers[name].op_type in MOVING:
                name = makers[name].input[0]
            yield name


def with_tensors(model: onnx.ModelProto, tensors: Mapping[str, NDArray[np.floating]]) -> onnx.ModelProto:
    """A copy with other values in these initializers, of their types."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in tensors:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name].astype(dtype), tensor.name))
    return changed


def trace(
    model: onnx.ModelProto, tensors: Mapping[str, Array], config: Config, path: Path
) -> dict[tuple[str, str], Source]:
    """The sources of all weights and biases of layers that depend on `tensors`, which `model` has.

    Raises TrainingError where one is no single weight, scaled and shifted.
    """
    count = sum(tensor.size for tensor in tensors.values())

    def run(values: NDArray[np.floating]) -> Constants:
        return layer_constants(with_tensors(model, _parted(values, tensors)), config, path)

    once, twice = run(np.full(count, BASE)), run(np.full(count, 2 * BASE))
    shifts = range(0, max(1, int(count - 1).bit_length()), DIGIT_BITS)
    positions = np.arange(count)
    digits = [run(BASE + (positions >> shift) % (1 << DIGIT_BITS)) for shift in shifts]
    drawn = np.random.default_rng(0).uniform(1, 2, count).astype(np.float16)
    check = run(drawn)
    sources = {}
    for key, low in once.items():
        factor = (twice[key] - low) / np.float32(BASE)
        offset = low - factor * np.float32(BASE)
        if not factor.any():
            continue
        found = [_digit(run[key], factor, offset) << shift for run, shift in zip(digits, shifts, strict=True)]
        index = np.clip(np.sum(found, axis=0), 0, count - 1)
        if not np.allclose(drawn[index].astype(np.float32) * factor + offset, check[key], rtol=1e-5, atol=1e-6):
            what = f"the {key[1]} of the layer mixes several weights of the model"
            raise TrainingError(what, where=f"layer {key[0]}", fix="retrain a model without repeated channels")
        sources[key] = _source(index, factor, offset, tensors)
    return sources


def layer_constants(model: onnx.ModelProto, config: Config, path: Path) -> Constants:
    """The weights and biases of the layers that the passes on the float network make of a model."""
    graph = run_passes(read_network(model, (), path).graph, float_passes(config), Dump(None))
    return constants_of(graph)


def constants_of(graph: Graph) -> Constants:
    """The weights and biases of a graph's layers."""
    return {
        (node.name, role): graph.array(node.inputs[role])
        for node in graph.layers
        for role in ROLES
        if role in node.inputs
    }


def _parted(values: NDArray[np.floating], tensors: Mapping[str, Array]) -> dict[str, NDArray[np.floating]]:
    """A joined array as tensors of their shapes."""
    ends = np.cumsum([tensor.size for tensor in tensors.values()])
    parts = np.split(values, ends[:-1])
    return {name: part.reshape(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}


def _digit(constant: Array, factor: Array, offset: Array) -> NDArray[np.int64]:
    """The digit that a constant tells of the position of each of its elements; 0 where it has none."""
    scaled = (constant - offset) / np.where(factor == 0, 1, factor)
    return np.asarray(np.where(factor == 0, 0, np.rint(scaled - BASE)).astype(np.int64))


def _source(index: NDArray[np.int64], factor: Array, offset: Array, tensors: Mapping[str, Array]) -> Source:
    """The source with only those tensors that the constant depends on."""
    names = list(tensors)
    starts = np.cumsum([0, *(tensor.size for tensor in tensors.values())])
    owner = np.searchsorted(starts, index, side="right") - 1
    used = np.unique(owner[factor != 0])
    new_starts = np.cumsum([0, *(tensors[names[each]].size for each in used)])
    shift = np.zeros(len(names), np.int64)
    shift[used] = new_starts[:-1] - starts[used]
    local = np.where(factor == 0, 0, index + shift[owner])
    return Source(tuple(names[each] for each in used), local, factor, offset)
