"""The model as its file has it: what is trained of it, and how trained weights come back into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnx_ir
from onnx import numpy_helper
from onnx_ir.passes import common

from bfpc.training.batch_norm import Normalization, find_normalizations, fold_batch_norms
from bfpc.training.constants import Key
from bfpc.training.parameters import Array, Source, trained_tensors, with_tensors


class Original:
    """A model, and the same with normalizations folded into the layers before them."""

    def __init__(self, model: onnx.ModelProto, *, kept: bool) -> None:
        """kept: whether normalizations are trained as such, and stay in what is written."""
        model = _with_initializers(model)
        self.folded = fold_batch_norms(model)
        self.folded_tensors = trained_tensors(self.folded)
        self._model = model if kept else self.folded
        self._normalizations = find_normalizations(model, self.folded) if kept else ()

    def normalizations_of(self, used: Iterable[str]) -> tuple[Normalization, ...]:
        """The normalizations that are trained where these tensors of the folded model are."""
        return tuple(each for each in self._normalizations if each.weight in set(used))

    def trained_tensors(self, used: Iterable[str]) -> dict[str, Array]:
        """The tensors that make up these of the folded model."""
        normalized = {each.weight: each for each in self._normalizations}
        biases = {each.bias for each in self._normalizations}
        names: dict[str, None] = {}
        for name in (name for name in self.folded_tensors if name in set(used)):
            if name in normalized:
                each = normalized[name]
                names |= dict.fromkeys((name, *([each.bias] if each.has_bias else []), each.gamma, each.beta))
            elif name not in biases:
                names[name] = None
        arrays = {tensor.name: tensor for tensor in self._model.graph.initializer}
        return {name: numpy_helper.to_array(arrays[name]).astype(np.float32) for name in names}

    def with_trained(self, trained: Mapping[str, Array], folded: Mapping[str, Array]) -> onnx.ModelProto:
        """The model with trained tensors.

        trained: those of this model; folded: those of the folded model, with the values that the accelerator has.
        """
        tensors = dict(trained) | {name: array for name, array in folded.items() if name in trained}
        for each in self._normalizations:
            if each.weight in trained:
                scale = (tensors[each.gamma] / each.deviation).astype(np.float32)
                bias = trained[each.bias] * each.bias_factor if each.has_bias else 0.0
                if each.has_bias:
                    tensors[each.bias] = trained[each.bias]
                tensors[each.weight] = divided(folded[each.weight], scale[each.channels], trained[each.weight])
                tensors[each.beta] = (folded[each.bias] - (bias - each.mean) * scale).astype(np.float32)
        return with_tensors(self._model, tensors)


def _with_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its constants as initializers, without functions."""
    model = onnx.inliner.inline_local_functions(model) if model.functions else model
    network = onnx_ir.serde.deserialize_model(model)
    common.LiftConstantsToInitializersPass()(network)
    return onnx_ir.serde.serialize_model(network)


def take_back(
    tensors: Mapping[str, Array], constants: Mapping[Key, Array], sources: Mapping[Key, Source]
) -> dict[str, Array]:
    """The tensors with the values that the constants of layers have; see `Source`.

    Where layers differ on the value of an element, or none has it, the element stays as it is in `tensors`.
    """
    lowest = {name: np.full(array.size, np.inf) for name, array in tensors.items()}
    highest = {name: np.full(array.size, -np.inf) for name, array in tensors.items()}
    for key, source in sources.items():
        ends = np.cumsum([tensors[name].size for name in source.tensors])
        reached = source.factor != 0
        index, factor = source.index[reached], source.factor[reached]
        joined = np.concatenate([tensors[name].ravel() for name in source.tensors])
        values = divided(constants[key][reached] - source.offset[reached], factor, joined[index])
        for bounds, extreme, start in ((lowest, np.minimum, np.inf), (highest, np.maximum, -np.inf)):
            found = np.full(joined.size, start)
            extreme.at(found, index, values)
            for name, part in zip(source.tensors, np.split(found, ends[:-1]), strict=True):
                bounds[name] = extreme(bounds[name], part)
    return {
        name: np.where(lowest[name] == highest[name], lowest[name], array.ravel())
        .reshape(array.shape)
        .astype(np.float32)
        for name, array in tensors.items()
    }


def divided(product: Array, factor: Array, otherwise: Array) -> Array:
    """The smallest float32 whose product with `factor`, as the compiler rounds it, isn't below `product`.

    A quantizer makes the same of the two: from above, no block that a negative power of two limits needs a larger
    exponent, and no positive number falls to a smaller one. Where the factor is 0 the result is `otherwise`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(factor == 0, otherwise, product.astype(np.float64) / factor).astype(np.float32)
    below = (quotient * factor.astype(np.float64)).astype(np.float32) < product
    return np.where(below, np.nextafter(quotient, np.copysign(np.float32(np.inf), factor)), quotient)
