"""A quantized graph in integers, layer by layer: slow, obvious, and independent of the emulator.

A layer is computed by the reference that the C simulation is held against too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat, Conv, Layer
from bfpc.numerics.format import BfpFormat, BfpTensor
from tests.backend.hls_reference import Integers, LayerCase, Stored, quantize, tail

NO_WEIGHTS = BfpTensor(BfpFormat(2, 4, 0), np.zeros(0, np.int16), np.zeros(0, np.uint8))
NEVER = 2**62  # no number of a tail reaches it


def run(graph: Graph, inputs: Mapping[str, Stored]) -> dict[str, Stored]:
    """Every value of the graph for one image, from the stored input maps."""
    values = dict(inputs)
    for node in graph.nodes:
        operands = [values[name] for name in node.inputs.values() if name in values]
        if isinstance(node.op, Concat):
            mantissas = np.concatenate([operand.mantissas for operand in operands])
            offsets = np.concatenate([operand.offsets for operand in operands])
            values[node.name] = Stored(operands[0].format, mantissas, offsets)
        elif isinstance(node.op, Channels):
            values[node.name] = channels(operands[0], node.op)
        else:
            case = layer_case(graph, node, values)
            assert node.arithmetic is not None
            exponent_shift = case.output.exponent - node.arithmetic.output_exponent
            values[node.name] = quantize(tail(case), case.output, exponent_shift)
    return values


def channels(x: Stored, view: Channels) -> Stored:
    """A view of whole blocks."""
    size = x.format.block_size
    assert view.start % size == 0
    blocks = slice(view.start // size, -(-view.stop // size))
    return Stored(x.format, x.mantissas[view.start : view.stop], x.offsets[blocks])


def layer_case(graph: Graph, node: Node, values: Mapping[str, Stored]) -> LayerCase:
    """A layer with the integers it reads."""
    assert isinstance(node.op, Layer)
    arithmetic, output = node.arithmetic, node.output.format
    assert arithmetic is not None
    assert output is not None
    weight = graph.constants[node.inputs["weight"]] if "weight" in node.inputs else NO_WEIGHTS
    assert isinstance(weight, BfpTensor)
    mantissas = weight.mantissas.astype(np.int64)
    return LayerCase(
        op=node.op,
        x=values[node.inputs["x"]],
        output=output,
        weight_format=weight.format,
        weights=mantissas if isinstance(node.op, Conv) else mantissas.reshape(-1, *node.op.kernel),
        weight_offsets=weight.offsets.astype(np.int64),
        bias=_integers(graph, node, "bias"),
        bias_bits=64,
        slope=_integers(graph, node, "slope"),
        residual=values[node.inputs["residual"]] if "residual" in node.inputs else None,
        accumulator_shift=arithmetic.accumulator_shift,
        residual_shift=arithmetic.residual_shift,
        clip=(
            -NEVER if arithmetic.clip_low is None else arithmetic.clip_low,
            NEVER if arithmetic.clip_high is None else arithmetic.clip_high,
        ),
        reciprocal_shift=arithmetic.reciprocal_shift,
        pad_value=arithmetic.pad_value,
        table=_integers(graph, node, "table"),
        table_shift=arithmetic.table_shift,
        table_offset=arithmetic.table_offset,
    )


def _integers(graph: Graph, node: Node, role: str) -> Integers:
    """A layer's constants of one role; zeros, one per output channel, where it has none."""
    if role not in node.inputs:
        return np.zeros(node.output.shape[0], np.int64)
    return graph.array(node.inputs[role]).astype(np.int64)


def image(stored: BfpTensor, index: int = 0) -> Stored:
    """One image of a batch of stored maps."""
    return Stored(stored.format, stored.mantissas[index].astype(np.int64), stored.offsets[index].astype(np.int64))
