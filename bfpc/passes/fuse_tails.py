"""Merges a layer that only has a tail into the layer that feeds it.

    %a = Conv(x, w); %b = Pass(%a, residual=%r) {activation}    ->  %b = Conv(x, w, residual=%r) {activation}
    %a = Conv(x, w); %b = Pass(%r, residual=%a)                 ->  %b = Conv(x, w, residual=%r): a sum has no order
    %b = Conv(x, w); %c = Pass(%b) {pool}                       ->  %c = Conv(x, w) {pool}

A tail computes residual, activation and pool in this order; what would need another order stays two layers.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from math import prod

from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import NO_PADS, Conv, Depthwise, Layer, Pass, Tail, Window
from bfpc.numerics.layer import MAX_TAIL_BITS, reciprocal_shift
from bfpc.passes.assign_formats import layer_formats

PoolFits = Callable[[Node, Window], bool]


def fuse_tails(graph: Graph, pool_fits: PoolFits) -> Graph:
    """`pool_fits` tells whether a layer, given by its node, can also do a pooling window in its tail."""
    readers = graph.consumers()
    once = {name for name in readers if len(readers[name]) == 1 and name not in graph.output_names}
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        merged = _merge(node, kept, once, pool_fits)
        if merged is None:
            kept[node.name] = node
        else:
            producer, fused = merged
            del kept[producer]
            kept[fused.name] = fused
    return graph.with_nodes(kept.values())


def _merge(node: Node, kept: dict[str, Node], once: Set[str], pool_fits: PoolFits) -> tuple[str, Node] | None:
    """The name of the layer that takes the node's tail over, and that layer with it.

    kept: the layers so far; once: the values that a single layer reads.
    """
    if not isinstance(node.op, Pass) or node.op.stride != (1, 1) or node.op.pads != NO_PADS:
        return None
    if node.inputs["x"] == node.inputs.get("residual"):
        return None
    candidates = [kept[name] for role, name in node.inputs.items() if role != "slope" and name in kept]
    # A convolution saves a whole layer's traffic where a pass saves less, and the later one finds its residual ready.
    order = list(kept)
    candidates.sort(key=lambda c: (isinstance(c.op, Conv | Depthwise), order.index(c.name)), reverse=True)
    for producer in candidates:
        if producer.name in once and isinstance(producer.op, Layer) and _composes(producer, node, pool_fits):
            return producer.name, _composed(producer, node)
    return None


def _composes(producer: Node, node: Node, pool_fits: PoolFits) -> bool:
    first, second = producer.layer.tail, node.layer.tail
    if first.pool is not None:
        return False
    if first.activation is not None and (second.activation is not None or "residual" in node.inputs):
        return False
    if "residual" in producer.inputs and "residual" in node.inputs:
        return False
    return second.pool is None or pool_fits(producer, second.pool)


def _composed(producer: Node, node: Node) -> Node:
    tail = Tail(producer.layer.tail.activation or node.layer.tail.activation, node.layer.tail.pool)
    inputs = dict(producer.inputs)
    if "residual" in node.inputs:
        inputs["residual"] = next(node.inputs[role] for role in ("x", "residual") if node.inputs[role] != producer.name)
    if "slope" in node.inputs:
        inputs["slope"] = node.inputs["slope"]
    return replace(node, op=replace(producer.layer, tail=tail), inputs=inputs)


def pool_fits(graph: Graph, config: Config, node: Node, window: Window) -> bool:
    """Whether the buffers hold what a window needs, and the tail's numbers its average, whatever the weights are."""
    op = node.layer
    reach = zip(window.kernel, op.stride, op.kernel, op.dilation, strict=True)
    region = prod((positions - 1) * stride + (taps - 1) * dilation + 1 for positions, stride, taps, dilation in reach)
    vectors = -(-graph.value(node.inputs["x"]).shape[0] // config.array_size.c_vec)
    if prod(window.kernel) > config.architecture.accumulator_positions:
        return False
    if region * vectors > config.architecture.feature_depth:
        return False
    if window.kind == "max" or not isinstance(op, Conv | Depthwise):
        return True
    producer = graph.producer(node.inputs["x"])
    activation = config.input_format if producer is None else layer_formats(graph, config, producer).activation
    chosen, weight = layer_formats(graph, config, node), graph.array(node.inputs["weight"])
    factor = chosen.depthwise_weight if isinstance(op, Depthwise) else chosen.weight
    mantissas = activation.mantissa_bits + factor.mantissa_bits - 1
    shifts = activation.exponent_range + factor.exponent_range
    summed = (prod(weight.shape[1:]) * prod(window.kernel)).bit_length()
    return mantissas + shifts + summed + reciprocal_shift(prod(window.kernel)) + 2 <= MAX_TAIL_BITS
