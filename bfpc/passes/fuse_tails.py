"""Merges a layer that only has a tail into the layer that feeds it.

    %a = Conv(x, w); %b = Pass(%a, residual=%r) {activation}    ->  %b = Conv(x, w, residual=%r) {activation}
    %a = Conv(x, w); %b = Pass(%r, residual=%a)                 ->  %b = Conv(x, w, residual=%r): a sum has no order
    %b = Conv(x, w); %c = Pass(%b) {pool}                       ->  %c = Conv(x, w) {pool}

A tail computes residual, activation and pool in this order; what would need another order stays two layers. Nor do
`x - residual` and a residual of one position, which meets every position, change their order.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from math import prod

from bfpc.config import Config
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv, Depthwise, Layer, Pass, PositionScale, PRelu, Table, Tail
from bfpc.numerics.layer import MAX_TAIL_BITS, POSITION_SCALE_SHIFT, SLOPE_SHIFT, TABLE_BITS, reciprocal_shift
from bfpc.passes.assign_formats import layer_formats
from bfpc.passes.buffers import layer_fits

Fits = Callable[[Node], bool]


def fuse_tails(graph: Graph, fits: Fits) -> Graph:
    """`fits` tells whether the hardware can do a layer, given by its node, that this pass is about to make."""
    once = graph.read_once
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        merged = _merge(graph, node, kept, once, fits)
        if merged is None:
            kept[node.name] = node
        else:
            producer, fused = merged
            del kept[producer]
            kept[fused.name] = fused
    return graph.with_nodes(kept.values())


def _merge(graph: Graph, node: Node, kept: dict[str, Node], once: Set[str], fits: Fits) -> tuple[str, Node] | None:
    """The name of the layer that takes the node's tail over, and that layer with it.

    kept: the layers so far; once: the values that a single layer reads.
    """
    if not isinstance(node.op, Pass) or node.op != Pass(tail=node.op.tail):
        return None
    if node.inputs["x"] == node.inputs.get("residual"):
        return None
    candidates = [kept[name] for name in _exchangeable(graph, node) if name in kept]
    # A convolution saves a whole layer's traffic where a pass saves less, and the later one finds its residual ready.
    order = list(kept)
    candidates.sort(key=lambda c: (isinstance(c.op, Conv | Depthwise), order.index(c.name)), reverse=True)
    for producer in candidates:
        if producer.name in once and isinstance(producer.op, Layer) and _composes(producer, node):
            fused = _composed(producer, node)
            if fits(fused):
                return producer.name, fused
    return None


def _exchangeable(graph: Graph, node: Node) -> list[str]:
    """The operands of a pass that may come first: x, and the residual where their order does not matter."""
    x, residual = node.inputs["x"], node.inputs.get("residual")
    if residual is None or node.layer.tail.residual == "subtract":
        return [x]
    return [x, residual] if graph.value(residual).shape == graph.value(x).shape else [x]


def _composes(producer: Node, node: Node) -> bool:
    first, second = producer.layer.tail, node.layer.tail
    if first.pool is not None:
        return False
    if first.activation is not None and (second.activation is not None or "residual" in node.inputs):
        return False
    return not ("residual" in producer.inputs and "residual" in node.inputs)


def _composed(producer: Node, node: Node) -> Node:
    first, second = producer.layer.tail, node.layer.tail
    residual = (second if "residual" in node.inputs else first).residual
    tail = Tail(first.activation or second.activation, second.pool, residual)
    inputs = dict(producer.inputs)
    if "residual" in node.inputs:
        inputs["residual"] = next(node.inputs[role] for role in ("x", "residual") if node.inputs[role] != producer.name)
    inputs.update((role, node.inputs[role]) for role in ("slope", "table") if role in node.inputs)
    return replace(node, op=replace(producer.layer, tail=tail), inputs=inputs)


def tail_fits(graph: Graph, config: Config, node: Node) -> bool:
    """Whether the buffers hold what a layer's pooling window needs, and the tail its numbers, whatever the weights are.

    graph: in which the layer's inputs stand.
    """
    tail = node.layer.tail
    if tail.pool is not None and not layer_fits(graph, config, node):
        return False
    multiplies = "residual" in node.inputs and tail.residual == "multiply"
    averages = tail.pool is not None and tail.pool.kind == "average"
    scales = isinstance(tail.activation, PositionScale)
    if not isinstance(node.op, Conv | Depthwise) or not (multiplies or averages or scales):
        return True
    return _tail_bits(graph, config, node) <= MAX_TAIL_BITS


def _tail_bits(graph: Graph, config: Config, node: Node) -> int:
    """Bits that surely hold the tail's widest number."""
    bits = _map_bits(graph, config, node.inputs["x"]) + _weight_bits(graph, config, node) + 2
    tail = node.layer.tail
    if "residual" in node.inputs:
        bits += _map_bits(graph, config, node.inputs["residual"]) if tail.residual == "multiply" else 1
    if isinstance(tail.activation, PRelu):
        bits += SLOPE_SHIFT
    if isinstance(tail.activation, PositionScale):
        bits += POSITION_SCALE_SHIFT
    if tail.pool is not None and tail.pool.kind == "average":
        count = prod(tail.pool.kernel)
        position = TABLE_BITS if isinstance(tail.activation, Table) else bits
        bits = max(bits, position + count.bit_length() + reciprocal_shift(count))
    return bits


def _map_bits(graph: Graph, config: Config, name: str) -> int:
    producer = graph.producer(name)
    chosen = config.input_format if producer is None else layer_formats(graph, config, producer).activation
    return chosen.stored_bits(signed=True) + chosen.exponent_range


def _weight_bits(graph: Graph, config: Config, node: Node) -> int:
    """Bits that the products' sums add to those of the map."""
    formats, weight = layer_formats(graph, config, node), graph.array(node.inputs["weight"])
    chosen = formats.depthwise_weight if isinstance(node.op, Depthwise) else formats.weight
    return chosen.mantissa_bits - 1 + chosen.exponent_range + prod(weight.shape[1:]).bit_length()
