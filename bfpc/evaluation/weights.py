"""How many weights a compiled network has, and how many bits they take."""

from __future__ import annotations

from dataclasses import dataclass

from bfpc.emulator.published import published_formats
from bfpc.evaluation.task import Candidate
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Conv

FLOAT_BITS = 32
PUBLISHED_EXPONENT_BITS = 5


@dataclass(frozen=True)
class WeightSize:
    """weights: of all layers. bits: that store them, exponents included."""

    weights: int
    bits: float

    @property
    def bits_per_weight(self) -> float:
        return self.bits / max(1, self.weights)

    @property
    def megabytes(self) -> float:
        return self.bits / 8e6


def float_weight_size(candidate: Candidate) -> WeightSize:
    """The same weights in float32."""
    weights = weight_size(candidate).weights
    return WeightSize(weights, weights * FLOAT_BITS)


def weight_size(candidate: Candidate) -> WeightSize:
    """The weights of all layers, and the bits of their mantissas and exponents."""
    published = candidate.config.arithmetic == "published"
    sizes = _published_sizes(candidate) if published else _quantized_sizes(candidate.graph)
    return WeightSize(sum(size.weights for size in sizes), sum(size.bits for size in sizes))


def _quantized_sizes(graph: Graph) -> list[WeightSize]:
    return [
        WeightSize(
            weight.mantissas.size,
            weight.mantissas.size * weight.format.mantissa_bits + weight.offsets.size * weight.format.exponent_bits,
        )
        for weight in map(graph.weight, graph.layers)
        if weight is not None
    ]


def _published_sizes(candidate: Candidate) -> list[WeightSize]:
    """Depthwise layers stay in float32."""
    graph, format = candidate.graph, published_formats(candidate.config).weight
    dense = 1 + format.magnitude_bits + PUBLISHED_EXPONENT_BITS / format.block_size
    weighted = [(node, graph.array(node.inputs["weight"]).size) for node in graph.layers if "weight" in node.inputs]
    return [WeightSize(size, size * (dense if isinstance(node.op, Conv) else FLOAT_BITS)) for node, size in weighted]
