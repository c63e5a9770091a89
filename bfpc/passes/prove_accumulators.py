"""Fixes every layer's integer arithmetic and proves that none of its numbers overflows.

    %y = Conv(x, w, bias=b)    ->  the same with its arithmetic; b as integers in the accumulator's LSB

An accumulator's bound is what its actual weights and the largest activation that its format holds can cause, over all
outputs: since nothing is rounded on the way, no input whatsoever exceeds it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import CapacityError
from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import Clip, Layer, PRelu
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.layer import (
    MAX_ACCUMULATOR_BITS,
    MAX_TAIL_BITS,
    SLOPE_SHIFT,
    LayerArithmetic,
    reciprocal_shift,
    signed_bits,
)

MIN_RECIPROCAL_SHIFT = 8


def prove_accumulators(graph: Graph) -> Graph:
    """Takes a graph with formats, quantized weights, and real biases and slopes."""
    constants: dict[str, Constant] = dict(graph.constants)
    nodes = [_proved(graph, node, constants) if isinstance(node.op, Layer) else node for node in graph.nodes]
    return graph.with_nodes(nodes, constants)


def _proved(graph: Graph, node: Node, constants: dict[str, Constant]) -> Node:
    """The layer with its arithmetic; its integer bias and slope are added to `constants`."""
    exponent, sums = array_bound(graph, node)
    inputs = dict(node.inputs)
    bias = np.zeros(len(sums), np.int64)
    if "bias" in inputs:
        bias = round_to_lsb(graph.array(inputs["bias"]), exponent)
        inputs["bias"] = f"{node.name}.integer_bias"
        constants[inputs["bias"]] = bias
    if "slope" in inputs:
        slope = round_to_lsb(graph.array(inputs["slope"]), -SLOPE_SHIFT)
        inputs["slope"] = f"{node.name}.integer_slope"
        constants[inputs["slope"]] = slope
    arithmetic = _arithmetic(graph, node, exponent, sums, bias)
    return replace(node, inputs=inputs, arithmetic=arithmetic)


def round_to_lsb(real: NDArray[np.floating], exponent: int) -> NDArray[np.int64]:
    """Real numbers as integers whose LSB weighs `2**exponent`, ties to even."""
    return np.rint(np.ldexp(np.asarray(real, np.float64), -exponent)).astype(np.int64)


def array_bound(graph: Graph, node: Node) -> tuple[int, NDArray[np.int64]]:
    """The accumulators' exponent, and for each output channel the largest magnitude they can take."""
    format = graph.value(node.inputs["x"]).format
    assert format is not None
    if "weight" not in node.inputs:
        return format.exponent, np.full(node.output.shape[0], format.max_aligned, np.int64)
    weight = graph.constants[node.inputs["weight"]]
    assert isinstance(weight, BfpTensor)
    aligned = weight.aligned.reshape(len(weight.mantissas), -1)
    if format.signed:
        sums = np.abs(aligned).sum(axis=1)
    else:  # all products of one sign at a time
        sums = np.maximum(np.maximum(aligned, 0).sum(axis=1), np.maximum(-aligned, 0).sum(axis=1))
    return format.exponent + weight.format.exponent, sums * format.max_aligned


def _arithmetic(
    graph: Graph, node: Node, exponent: int, sums: NDArray[np.int64], bias: NDArray[np.int64]
) -> LayerArithmetic:
    assert isinstance(node.op, Layer)
    accumulator_bound = int(sums.max())
    accumulator_bits = signed_bits(accumulator_bound)
    _refuse_beyond(node, "accumulators", accumulator_bits, MAX_ACCUMULATOR_BITS)
    bound = int((sums + np.abs(bias)).max())
    accumulator_shift = residual_shift = 0
    if "residual" in node.inputs:
        residual = graph.value(node.inputs["residual"]).format
        assert residual is not None
        accumulator_shift = max(0, exponent - residual.exponent)
        residual_shift = residual.exponent - exponent + accumulator_shift
        bound = (bound << accumulator_shift) + (residual.max_aligned << residual_shift)
    position_bound, output_exponent = bound, exponent - accumulator_shift
    clip_low = clip_high = None
    match node.op.tail.activation:
        case Clip() as clip:
            clip_low, clip_high = (_clip_bound(real, output_exponent, bound) for real in (clip.low, clip.high))
            bound = max(abs(bound if limit is None else limit) for limit in (clip_low, clip_high))
        case PRelu():
            slopes = graph.constants[node.inputs["slope"]]
            bound *= max(1 << SLOPE_SHIFT, int(np.abs(round_to_lsb(np.asarray(slopes), -SLOPE_SHIFT)).max()))
            position_bound, output_exponent = bound, output_exponent - SLOPE_SHIFT
    shift = 0
    if node.op.tail.pool is not None and node.op.tail.pool.kind == "average":
        count = prod(node.op.tail.pool.kernel)
        shift = average_shift(bound, count)
        bound = bound * ((1 << shift) + count)  # a reciprocal is rounded, by at most one half a term
        output_exponent -= shift
    tail_bits = signed_bits(max(position_bound, bound))
    _refuse_beyond(node, "layer tail's sums", tail_bits, MAX_TAIL_BITS)
    return LayerArithmetic(
        accumulator_exponent=exponent,
        accumulator_bound=accumulator_bound,
        accumulator_bits=accumulator_bits,
        accumulator_shift=accumulator_shift,
        residual_shift=residual_shift,
        clip_low=clip_low,
        clip_high=clip_high,
        reciprocal_shift=shift,
        output_exponent=output_exponent,
        position_bound=position_bound,
        output_bound=bound,
        tail_bits=tail_bits,
    )


def _clip_bound(real: float, exponent: int, bound: int) -> int | None:
    """A clipping constant in LSBs; None where no number up to `bound` reaches it."""
    if abs(real) >= bound * 2.0**exponent:
        return None
    return int(round_to_lsb(np.array(real), exponent))


def average_shift(bound: int, count: int) -> int:
    """Fractional bits of an average's reciprocal: as wanted, or as many as the tail has left; at least a few."""
    left = MAX_TAIL_BITS - 1 - (bound * (count + 1)).bit_length()
    return max(MIN_RECIPROCAL_SHIFT, min(reciprocal_shift(count), left))


def _refuse_beyond(node: Node, what: str, bits: int, limit: int) -> None:
    if bits > limit:
        raise CapacityError(
            f"the {what} need {bits} bits, the hardware has {limit}",
            where=f"layer {node.name}",
            fix="give the layer fewer mantissa_bits or a smaller exponent_range with an override",
        )
