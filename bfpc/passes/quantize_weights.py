"""Quantizes the weights: each becomes a constant in BFP, its window's top just above its largest element.

constant @w : 64x3x3x3    ->  constant @w : 64x3x3x3 [int4bfp/16 r3 e-6]

With `choose_exponents` a block's exponent is the one with the least error: where its largest element lies just above a
power of two, it may saturate for the sake of the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.config import Config
from bfpc.config_sections import Passes
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.numerics import quantize
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.passes.assign_formats import layer_formats, top_of

MAX_BIAS_BITS = 40  # of a bias in the accumulator's LSBs; ordinary layers stay far below
MAX_RESIDUAL_SHIFT = 28  # of a residual's LSB above the accumulator's


def quantize_weights(graph: Graph, config: Config) -> Graph:
    """A constant that several layers read takes the format of the first."""
    constants = dict(graph.constants)
    for node in graph.layers:
        name = node.inputs.get("weight")
        if name is not None and not isinstance(constants[name], BfpTensor):
            constants[name] = _quantized(graph, config, node)
    return graph.with_nodes(graph.nodes, constants)


def _quantized(graph: Graph, config: Config, node: Node) -> BfpTensor:
    weight = graph.array(node.inputs["weight"])
    formats = layer_formats(graph, config, node)
    choose_offsets = offsets_rule(config.passes)
    if isinstance(node.op, Depthwise):
        chosen, taps = formats.depthwise_weight, weight.shape[2] * weight.shape[3]
        format = _placed(graph, node, weight, BfpFormat(chosen.mantissa_bits, taps, chosen.exponent_range))
        return BfpTensor(format, *quantize.quantize_depthwise(weight, format, choose_offsets))
    dense = formats.weight
    format = _placed(graph, node, weight, BfpFormat(dense.mantissa_bits, dense.block_size, dense.exponent_range))
    return BfpTensor(format, *quantize.quantize_weights(weight, format, choose_offsets))


def offsets_rule(passes: Passes) -> quantize.ChooseOffsets:
    """How the blocks of weights get their exponents."""
    return quantize.least_error_offsets if passes.choose_exponents else quantize.block_offsets


def _placed(graph: Graph, node: Node, weight: NDArray[Any], format: BfpFormat) -> BfpFormat:
    """The format with its window's top just above the largest weight.

    Weights that vanish beside the bias or residual get a higher one: nothing would be left of them in the sum, and
    the accumulator's LSB must not lie so far below those that the tail overflows.
    """
    placed = format.with_top(top_of(float(np.abs(weight).max(initial=0))))
    lowest = [placed.exponent + graph.format(node.inputs["x"]).exponent]
    if "bias" in node.inputs:
        bias = float(np.abs(graph.array(node.inputs["bias"])).max(initial=0))
        lowest.append(top_of(bias) - MAX_BIAS_BITS)
    if "residual" in node.inputs:
        lowest.append(graph.format(node.inputs["residual"]).exponent - MAX_RESIDUAL_SHIFT)
    return replace(placed, exponent=placed.exponent + max(lowest) - lowest[0])
