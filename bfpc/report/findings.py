"""Where a network loses accuracy, layer by layer, and what to try about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.ir.stages import stored_parts
from bfpc.numerics.format import BLOCK_SIZES, MAX_MANTISSA_BITS
from bfpc.report.octaves import Octaves

WORST = 3  # layers that are marked
LITTLE = 0.02  # of the largest noise that a layer adds: less is not marked
MANY_ZEROS = 0.25  # of the weights
MUCH_SATURATION = 0.001  # of a map
WIDE = 8  # bits of weights that depthwise layers seldom need more than


@dataclass(frozen=True)
class Finding:
    """A layer that adds much noise. added: relative to its signal, beyond what its inputs brought along."""

    layer: str
    added: float
    advice: tuple[str, ...]


def find_worst(
    graph: Graph,
    sqnr_db: Mapping[str, float],
    weights: Mapping[str, Octaves],
    maps: Mapping[str, Octaves],
    *,
    extra_sign_bit: bool,
) -> tuple[Finding, ...]:
    """The layers that add most noise, the worst first.

    sqnr_db: of the layers that were compared. extra_sign_bit: whether signs of maps lie beside the bits of the config.
    """
    noise = {name: 10 ** (-value / 10) for name, value in sqnr_db.items()}
    added = {
        node.name: noise[node.name] - max((noise[part] for part in _compared_inputs(graph, node, noise)), default=0.0)
        for node in graph.layers
        if node.name in noise
    }
    worst = sorted(added, key=lambda name: -added[name])[:WORST]
    marked = [name for name in worst if added[name] > LITTLE * added[worst[0]] > 0]
    nodes = {node.name: node for node in graph.layers}
    return tuple(
        Finding(
            name,
            added[name],
            (
                *_advice_on_weights(nodes[name], weights.get(name)),
                *_advice_on_map(nodes[name], maps.get(name), extra_sign_bit=extra_sign_bit),
            ),
        )
        for name in marked
    )


def _compared_inputs(graph: Graph, node: Node, noise: Mapping[str, float]) -> Iterator[str]:
    """The layers whose maps a layer reads; where one was not compared, those that it reads in turn."""
    for name in node.inputs.values():
        if not graph.is_value(name):
            continue
        for part in stored_parts(graph, name):
            producer = graph.producer(part)
            if part in noise:
                yield part
            elif producer is not None:
                yield from _compared_inputs(graph, producer, noise)


def _advice_on_weights(node: Node, weights: Octaves | None) -> Iterator[str]:
    """Overrides to try, as lines of a config."""
    if weights is None:
        return
    bits = weights.format.mantissa_bits
    if isinstance(node.op, Depthwise) and bits < WIDE:
        yield f"wider depthwise weights: {_override(node, f'weight: {{mantissa_bits: {WIDE}}}')}"
    elif weights.zeros > MANY_ZEROS and weights.format.block_size > BLOCK_SIZES[0]:
        why = f"{weights.zeros:.0%} of the weights became zero, smaller blocks lose fewer"
        yield f"{why}: {_override(node, f'weight: {{block_size: {weights.format.block_size // 2}}}')}"
    elif bits < MAX_MANTISSA_BITS:
        yield f"one more bit of weight: {_override(node, f'weight: {{mantissa_bits: {bits + 1}}}')}"


def _advice_on_map(node: Node, maps: Octaves | None, *, extra_sign_bit: bool) -> Iterator[str]:
    if maps is None:
        return
    if maps.saturation > MUCH_SATURATION:
        yield f"{maps.saturation:.1%} of its map saturate: calibrate on more images, or on such as these"
    bits = maps.format.magnitude_bits if extra_sign_bit else maps.format.mantissa_bits
    if bits < MAX_MANTISSA_BITS:
        yield f"one more bit of its map: {_override(node, f'activation: {{mantissa_bits: {bits + 1}}}')}"


def _override(node: Node, keys: str) -> str:
    return f'{{name: "{node.name}", {keys}}}'
