"""Weights quantized as they are at the moment: `passes.quantize_weights` in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.numerics.format import BfpFormat
from bfpc.passes.assign_formats import MIN_TOP
from bfpc.passes.quantize_weights import MAX_BIAS_BITS, MAX_RESIDUAL_SHIFT
from bfpc.training.quantizers import quantize_depthwise, quantize_maps


@dataclass(frozen=True)
class WeightFormat:
    """How the weights of a layer are stored, except for their exponent, and what that depends on besides them.

    input_exponent, residual_exponent: the base exponents of what the layer reads; None without a residual.
    """

    format: BfpFormat
    depthwise: bool
    input_exponent: int
    residual_exponent: int | None

    @staticmethod
    def of(graph: Graph, node: Node) -> WeightFormat:
        """That of a layer of a quantized graph."""
        weight, residual = graph.weight(node), node.inputs.get("residual")
        assert weight is not None, f"{node.name} has no weights"
        return WeightFormat(
            weight.format,
            isinstance(node.op, Depthwise),
            graph.format(node.inputs["x"]).exponent,
            None if residual is None else graph.format(residual).exponent,
        )

    def quantize(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The quantized weights as real numbers, and their base exponent, an integer tensor without axes."""
        exponent = _top(weight) - (self.format.magnitude_bits + self.format.exponent_range)
        if bias is not None:
            exponent = torch.maximum(exponent, _top(bias) - (MAX_BIAS_BITS + self.input_exponent))
        if self.residual_exponent is not None:
            exponent = exponent.clamp(min=self.residual_exponent - MAX_RESIDUAL_SHIFT - self.input_exponent)
        quantize = quantize_depthwise if self.depthwise else quantize_maps
        return quantize(weight, self.format, exponent), exponent


def _top(x: Tensor) -> Tensor:
    """`passes.assign_formats.top_of` the largest magnitude of x."""
    return torch.frexp(x.detach().abs().max())[1].clamp(min=MIN_TOP)
