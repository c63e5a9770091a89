"""The weight memory: the streams of all layers, each from a word on, and what they cost.

A layer's stream is padded only at its end, to a whole 64-bit word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bfpc.backend.architecture import Architecture
from bfpc.backend.bit_packing import Words
from bfpc.backend.weight_stream import SLOPE_BITS, LayerParameters, ParameterLayout, pack_layer, unpack_layer
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.layer import signed_bits


@dataclass(frozen=True)
class LayerImage:
    """Where a layer's stream lies: `address` and `words` in 64-bit words."""

    address: int
    words: int
    layout: ParameterLayout


@dataclass(frozen=True)
class WeightImage:
    """The weight memory and its layers by name."""

    words: Words
    layers: Mapping[str, LayerImage]

    @property
    def weights(self) -> int:
        """Weights stored, biases and slopes not counted."""
        return sum(_weight_count(layer.layout) for layer in self.layers.values())

    @property
    def bits_per_weight(self) -> float:
        """Everything stored, biases, slopes and word padding included, over the number of weights."""
        return self.words.size * 64 / max(1, self.weights)

    @property
    def ideal_bits_per_weight(self) -> float:
        """Mantissa bits plus exponent bits over block size, averaged over the weights."""
        ideals = ((_weight_count(layer.layout), layer.layout.weight_format) for layer in self.layers.values())
        bits = sum(n * (f.mantissa_bits + f.exponent_bits / f.block_size) for n, f in ideals if f is not None)
        return bits / max(1, self.weights)


def _weight_count(layout: ParameterLayout) -> int:
    return int(np.prod(layout.weight_shape)) if layout.weight_shape is not None else 0


def pack_weights(graph: Graph, architecture: Architecture) -> WeightImage:
    """The weight memory of a quantized graph.

    Raises CapacityError where a PRelu's slope needs more than 16 bits.
    """
    streams: list[Words] = []
    layers: dict[str, LayerImage] = {}
    address = 0
    for node in graph.layers:
        parameters = layer_parameters(graph, node)
        layout = _layout(node, parameters, architecture)
        stream = pack_layer(parameters, layout)
        layers[node.name] = LayerImage(address, stream.size, layout)
        streams.append(stream)
        address += stream.size
    return WeightImage(np.concatenate(streams), layers)


def layer_parameters(graph: Graph, node: Node) -> LayerParameters:
    """The constants that a layer of a quantized graph reads."""
    bias, slope = (_integers(graph, node, role) for role in ("bias", "slope"))
    return LayerParameters(node.output.shape[0], graph.weight(node), bias, slope)


def _integers(graph: Graph, node: Node, role: str) -> NDArray[np.int64] | None:
    if role not in node.inputs:
        return None
    constant = graph.constants[node.inputs[role]]
    assert isinstance(constant, np.ndarray), f"{node.name}: {role} is not quantized"
    return constant.astype(np.int64, casting="safe", copy=False)


def _layout(node: Node, parameters: LayerParameters, architecture: Architecture) -> ParameterLayout:
    weight, bias, slope = parameters.weight, parameters.bias, parameters.slope
    if slope is not None and signed_bits(_largest(slope)) > SLOPE_BITS:
        raise CapacityError(
            f"a slope of {_largest(slope) / 256:g} does not fit the {SLOPE_BITS} bits of a slope",
            where=f"PRelu of {node.name}",
            fix="keep slopes between -127 and 127",
        )
    return ParameterLayout(
        channels=parameters.channels,
        weight_format=None if weight is None else weight.format,
        weight_shape=None if weight is None else _shape(weight),
        dense=isinstance(node.op, Conv),
        bias_bits=0 if bias is None else -(-signed_bits(_largest(bias)) // 8) * 8,
        has_slope=slope is not None,
        c_vec=architecture.c_vec,
        k_vec=architecture.k_vec,
    )


def _largest(values: NDArray[np.int64]) -> int:
    return int(np.abs(values).max(initial=0))


def _shape(weight: BfpTensor) -> tuple[int, int, int, int]:
    outputs, inputs, height, width = weight.mantissas.shape
    return outputs, inputs, height, width


def unpack_weights(words: Words, layers: Mapping[str, LayerImage]) -> dict[str, LayerParameters]:
    """The constants of every layer from the weight memory, by layer name."""
    return {
        name: unpack_layer(words[image.address : image.address + image.words], image.layout)
        for name, image in layers.items()
    }
