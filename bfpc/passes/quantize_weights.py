"""Quantizes the weights: each becomes a constant in BFP, its window's top just above its largest element.

constant @w : 64x3x3x3    ->  constant @w : 64x3x3x3 [int4bfp/16 r3 e-6]
"""

from __future__ import annotations

import numpy as np

from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.numerics import quantize
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.passes.assign_formats import layer_formats, top_of


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
    top = top_of(float(np.abs(weight).max(initial=0)))
    if isinstance(node.op, Depthwise):
        chosen, taps = formats.depthwise_weight, weight.shape[2] * weight.shape[3]
        format = BfpFormat(chosen.mantissa_bits, taps, chosen.exponent_range).with_top(top)
        return BfpTensor(format, *quantize.quantize_depthwise(weight, format))
    dense = formats.weight
    format = BfpFormat(dense.mantissa_bits, dense.block_size, dense.exponent_range).with_top(top)
    return BfpTensor(format, *quantize.quantize_weights(weight, format))
