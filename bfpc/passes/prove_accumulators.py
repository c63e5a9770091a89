"""Fixes every layer's integer arithmetic and proves that none of its numbers overflows.

    %y = Conv(x, w, bias=b)    ->  the same with its arithmetic; b as integers in the accumulator's LSB
    %y = Conv(...) {tail=Tail(activation=Table(...))}    ->  the same with its table of integers

An accumulator's bound is what its actual weights and the largest activation that its format holds can cause, over all
outputs: since nothing is rounded on the way, no input whatsoever exceeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from bfpc.errors import CapacityError
from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import Clip, Layer, Pass, PositionScale, PRelu, Table, Window
from bfpc.numerics.layer import (
    MAX_ACCUMULATOR_BITS,
    MAX_TAIL_BITS,
    POSITION_SCALE_SHIFT,
    SLOPE_SHIFT,
    LayerArithmetic,
    reciprocal_shift,
    signed_bits,
)
from bfpc.numerics.table import IntegerTable, make_table, position_scales

MIN_RECIPROCAL_SHIFT = 8
UNPROVABLE = 1 << 62  # far beyond the hardware, and still in int64 when the sums are added


def prove_accumulators(graph: Graph) -> Graph:
    """Takes a graph with formats, quantized weights, and real biases and slopes.

    Raises CapacityError where a layer's numbers could exceed what the hardware holds.
    """
    constants: dict[str, Constant] = dict(graph.constants)
    nodes = [_proved(graph, node, constants) if isinstance(node.op, Layer) else node for node in graph.nodes]
    return graph.with_nodes(nodes, constants)


def _proved(graph: Graph, node: Node, constants: dict[str, Constant]) -> Node:
    """The layer with its arithmetic; its integer bias, slope and table are added to `constants`."""
    exponent, sums = array_bound(graph, node)
    inputs = dict(node.inputs)
    bias = np.zeros(len(sums), np.int64)

    def replace_constant(role: str, integers: Constant) -> None:
        inputs[role] = f"{node.name}.integer_{role}"
        constants[inputs[role]] = integers

    if "bias" in inputs:
        bias = round_to_lsb(graph.array(inputs["bias"]), exponent)
        replace_constant("bias", bias)
    if "slope" in inputs:
        replace_constant("slope", round_to_lsb(graph.array(inputs["slope"]), -SLOPE_SHIFT))
    if isinstance(node.layer.tail.activation, PositionScale):
        replace_constant("table", position_scales(graph.array(inputs["table"])))
    arithmetic, table = _arithmetic(graph, node, exponent, sums, bias)
    if table is not None:
        replace_constant("table", table.entries)
    return replace(node, inputs=inputs, arithmetic=arithmetic)


def round_to_lsb(real: NDArray[np.floating], exponent: int) -> NDArray[np.int64]:
    """Real numbers as integers whose LSB weighs `2**exponent`, ties to even; saturated where no proof can hold."""
    scaled = np.rint(np.ldexp(np.asarray(real, np.float64), -exponent))
    return np.clip(scaled, -UNPROVABLE, UNPROVABLE).astype(np.int64)


def array_bound(graph: Graph, node: Node) -> tuple[int, NDArray[np.int64]]:
    """The accumulators' exponent, and for each output channel the largest magnitude they can take."""
    format, weight = graph.format(node.inputs["x"]), graph.weight(node)
    if weight is None:
        largest = max(format.max_aligned, abs(pad_value(node, format.exponent)))
        return format.exponent, np.full(node.output.shape[0], largest, np.int64)
    aligned = weight.aligned.reshape(len(weight.mantissas), -1)
    if format.signed:
        sums = np.abs(aligned).sum(axis=1)
    else:  # all products of one sign at a time
        sums = np.maximum(np.maximum(aligned, 0).sum(axis=1), np.maximum(-aligned, 0).sum(axis=1))
    return format.exponent + weight.format.exponent, sums * format.max_aligned


def pad_value(node: Node, exponent: int) -> int:
    """What a Pass finds beyond its map, in LSBs."""
    return int(round_to_lsb(np.array(node.op.pad_value), exponent)) if isinstance(node.op, Pass) else 0


def _arithmetic(
    graph: Graph, node: Node, exponent: int, sums: NDArray[np.int64], bias: NDArray[np.int64]
) -> tuple[LayerArithmetic, IntegerTable | None]:
    """The parts of the tail in their order, each with the bound and the LSB that the one before leaves."""
    tail, accumulator_bound = node.layer.tail, int(sums.max())
    accumulator_bits = _proved_bits(node, "accumulators", accumulator_bound, MAX_ACCUMULATOR_BITS)
    residual = _residual(graph, node, exponent, int((sums + np.abs(bias)).max()))
    activated = _activated(graph, node, residual)
    reciprocal_shift, factor = _average(tail.pool, activated.output_bound)
    output_bound = activated.output_bound * factor
    arithmetic = LayerArithmetic(
        accumulator_exponent=exponent,
        accumulator_bound=accumulator_bound,
        accumulator_bits=accumulator_bits,
        accumulator_shift=residual.accumulator_shift,
        residual_shift=residual.residual_shift,
        clip_low=activated.clip_low,
        clip_high=activated.clip_high,
        reciprocal_shift=reciprocal_shift,
        output_exponent=activated.exponent - reciprocal_shift,
        position_bound=activated.position_bound,
        output_bound=output_bound,
        tail_bits=_proved_bits(node, "layer tail's sums", max(activated.position_bound, output_bound), MAX_TAIL_BITS),
        table_shift=0 if activated.table is None else activated.table.shift,
        table_offset=0 if activated.table is None else activated.table.offset,
        pad_value=pad_value(node, exponent),
    )
    return arithmetic, activated.table


@dataclass(frozen=True)
class _Joined:
    """Left shifts of the accumulator and of the residual, and the exponent and the bound of what joining them gives."""

    accumulator_shift: int
    residual_shift: int
    exponent: int
    bound: int


def _residual(graph: Graph, node: Node, exponent: int, bound: int) -> _Joined:
    """How sums up to `bound`, whose LSB weighs `2**exponent`, meet the residual; without one they stay as they are."""
    if "residual" not in node.inputs:
        return _Joined(0, 0, exponent, bound)
    format = graph.format(node.inputs["residual"])
    if node.layer.tail.residual == "multiply":
        return _Joined(0, 0, exponent + format.exponent, bound * format.max_aligned)
    accumulator_shift = max(0, exponent - format.exponent)  # both get the finer LSB of the two
    residual_shift = format.exponent - exponent + accumulator_shift
    total = (bound << accumulator_shift) + (format.max_aligned << residual_shift)
    return _Joined(accumulator_shift, residual_shift, exponent - accumulator_shift, total)


@dataclass(frozen=True)
class _Activated:
    """The exponent of what an activation makes, its bound, and that of all numbers on the way; constants in LSBs."""

    exponent: int
    output_bound: int
    position_bound: int
    clip_low: int | None = None
    clip_high: int | None = None
    table: IntegerTable | None = None


def _activated(graph: Graph, node: Node, joined: _Joined) -> _Activated:
    bound, exponent = joined.bound, joined.exponent
    match node.layer.tail.activation:
        case PRelu():
            slopes = round_to_lsb(graph.array(node.inputs["slope"]), -SLOPE_SHIFT)
            bound *= max(1 << SLOPE_SHIFT, int(np.abs(slopes).max()))
            return _Activated(exponent - SLOPE_SHIFT, bound, bound)
        case PositionScale():
            bound <<= POSITION_SCALE_SHIFT
            return _Activated(exponent - POSITION_SCALE_SHIFT, bound, bound)
        case Clip() as clip:
            low, high = _clip_bounds(clip, exponent, bound)
            clipped = max(abs(bound if limit is None else limit) for limit in (low, high))
            return _Activated(exponent, clipped, max(bound, clipped), low, high)
        case Table(steps, gated, domain):
            assert domain is not None, "calibration gives a table its domain"
            table = make_table(steps, domain, exponent, gated=gated)
            entry = int(np.abs(table.entries.astype(np.int64)).max())
            return _Activated(table.exponent, entry, max(bound, entry), table=table)
        case None:
            return _Activated(exponent, bound, bound)


def _clip_bounds(clip: Clip, exponent: int, bound: int) -> tuple[int | None, int | None]:
    """The lower and the upper clipping constant in LSBs; None where no magnitude up to `bound` lies beyond it."""
    largest = bound * 2.0**exponent
    low, high = (int(round_to_lsb(np.array(real), exponent)) for real in (clip.low, clip.high))
    return None if clip.low <= -largest else low, None if clip.high >= largest else high


def _average(pool: Window | None, bound: int) -> tuple[int, int]:
    """Fractional bits of the reciprocal, and how many times the largest term a sum times the reciprocal can be."""
    if pool is None or pool.kind == "max":
        return 0, 1
    count = prod(pool.kernel)
    shift = average_shift(bound, count)
    return shift, (1 << shift) + count  # a reciprocal is rounded, by at most one half a term


def average_shift(bound: int, count: int) -> int:
    """Fractional bits of an average's reciprocal: as wanted, or as many as the tail has left; at least a few."""
    left = MAX_TAIL_BITS - 1 - (bound * (count + 1)).bit_length()
    return max(MIN_RECIPROCAL_SHIFT, min(reciprocal_shift(count), left))


def _proved_bits(node: Node, what: str, bound: int, limit: int) -> int:
    """Bits, the sign included, of integers up to `bound`. Raises CapacityError where the hardware has fewer."""
    bits = signed_bits(bound)
    if bits > limit:
        raise CapacityError(
            f"the {what} need {bits} bits, the hardware has {limit}",
            where=f"layer {node.name}",
            fix="give the layer fewer mantissa_bits or a smaller exponent_range with an override",
        )
    return bits
