"""One layer of the accelerator as a torch module, quantized or in floating point.

Quantized, its numbers follow from the exponent of the accumulator's LSB, which moves with the weights: biases and
bounds are multiples of it, and tables are made for it (see `passes.prove_accumulators`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bfpc.emulator.tail import window_counts
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Clip, Pair, Pass, PositionScale, Table
from bfpc.ir.shapes import array_size
from bfpc.numerics.layer import POSITION_SCALE_SHIFT, SLOPE_SHIFT, reciprocal
from bfpc.numerics.table import position_scales
from bfpc.training.operators import TailNumbers, apply_tail, compose, convolve, hand_on
from bfpc.training.quantizers import Exponent, power_of_two, quantize_maps, round_to_lsb
from bfpc.training.tables import TableReader

Numbers = NDArray[np.float64]


class TrainableLayer(nn.Module):
    """A Conv, Depthwise or Pass with its tail; its weight and bias are given to each call."""

    def __init__(self, graph: Graph, node: Node, plain_graph: Graph, plain: Node) -> None:
        """graph, node: quantized; plain_graph, plain: the same in floating point."""
        super().__init__()
        assert node.arithmetic is not None, f"{node.name} is not quantized"
        self._op, self._format = node.layer, graph.format(node.name)
        height, width = graph.value(node.inputs["x"]).shape[1:]
        self._size = array_size(node.layer, (height, width))
        self._pad_value = node.arithmetic.pad_value * 2.0**node.arithmetic.accumulator_exponent
        residual = node.inputs.get("residual")
        self._residual_exponent = None if residual is None else graph.format(residual).exponent
        activation = node.layer.tail.activation
        self._reader = TableReader(activation) if isinstance(activation, Table) else None
        constants = {role: plain_graph.array(plain.inputs[role]) for role in ("slope", "table") if role in plain.inputs}
        for name, (exact, rounded) in _fixed_numbers(node, constants, self._size).items():
            self.register_buffer(f"exact_{name}", torch.from_numpy(exact), persistent=False)
            self.register_buffer(f"rounded_{name}", torch.from_numpy(rounded), persistent=False)

    def forward(
        self, x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, exponent: Exponent | None
    ) -> Tensor:
        """exponent: that of the accumulator's LSB; None to compute in floating point."""
        if isinstance(self._op, Pass):
            pad_value = self._op.pad_value if exponent is None else self._pad_value
            sums = hand_on(x, self._op, pad_value, self._size)
        else:
            assert weight is not None, "a convolution has weights"
            if bias is not None and exponent is not None:
                bias = round_to_lsb(bias, power_of_two(exponent, bias.dtype))
            sums = convolve(x, self._op, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        y = apply_tail(self._op.tail, sums, residual, self._tail_numbers(exponent, x.dtype))
        return y if exponent is None else quantize_maps(y, self._format)

    def _tail_numbers(self, exponent: Exponent | None, dtype: torch.dtype) -> TailNumbers:
        kind = "exact" if exponent is None else "rounded"
        slope, scales, ratios = (
            buffer.to(dtype) if isinstance(buffer := getattr(self, f"{kind}_{name}", None), Tensor) else None
            for name in ("slope", "scales", "ratios")
        )
        bounds, function = None, None
        joined = None if exponent is None else self._joined_exponent(exponent)
        match self._op.tail.activation:
            case Clip(low, high):
                bounds = (low, high) if joined is None else (_rounded(low, joined), _rounded(high, joined))
            case Table(steps, gated) if self._reader is not None:
                function = compose(steps, gated=gated) if joined is None else self._reader.at(int(joined))
        return TailNumbers(bounds, slope, scales, function, ratios)

    def _joined_exponent(self, exponent: Exponent) -> Exponent:
        """The exponent of what the residual leaves."""
        own = self._residual_exponent
        if own is None:
            return exponent
        if self._op.tail.residual == "multiply":
            return exponent + own
        return min(exponent, own) if isinstance(exponent, int) else exponent.clamp(max=own)


def _fixed_numbers(
    node: Node, constants: Mapping[str, NDArray[np.float32]], size: Pair
) -> dict[str, tuple[Numbers, Numbers]]:
    """The numbers of a tail that training leaves alone, as they are and rounded.

    slope [channels, 1, 1]; scales [height, 1] or [1, width]; ratios [height, width], those of an average.
    """
    tail = node.layer.tail
    numbers: dict[str, tuple[Numbers, Numbers]] = {}
    if "slope" in constants:
        slope = constants["slope"].astype(np.float64).reshape(-1, 1, 1)
        numbers["slope"] = slope, np.ldexp(np.rint(np.ldexp(slope, SLOPE_SHIFT)), -SLOPE_SHIFT)
    if isinstance(tail.activation, PositionScale):
        rows = tail.activation.axis == "row"
        count, shape = (size[0], (-1, 1)) if rows else (size[1], (1, -1))
        scales = constants["table"].astype(np.float64)
        rounded = np.ldexp(position_scales(scales).astype(np.float64), -POSITION_SCALE_SHIFT)
        numbers["scales"] = scales[:count].reshape(shape), rounded[:count].reshape(shape)
    if tail.pool is not None and tail.pool.kind == "average":
        assert node.arithmetic is not None
        shift, counts = node.arithmetic.reciprocal_shift, window_counts(tail.pool, size)
        reciprocals = np.vectorize(lambda count: reciprocal(int(count), shift), otypes=[np.float64])(counts)
        numbers["ratios"] = 1 / counts, np.ldexp(reciprocals, -shift)
    return numbers


def _rounded(real: float, exponent: Exponent) -> float | Tensor:
    """A number as a multiple of `2**exponent`, ties to even."""
    if real == 0 or math.isinf(real):
        return real
    lsb = power_of_two(exponent, torch.float64)
    return torch.round(real / lsb) * lsb if isinstance(lsb, Tensor) else round(real / lsb) * lsb
