"""Gives every value its format: widths and blocks from the config, the window from calibration.

    %y = Conv(...) {tail=Tail(activation=Clip())} : 64x56x56    ->  ... : 64x56x56 [uint5bfp/16 r7 e-9]

The window's top is the power of two above the largest magnitude seen. A map that is proved non-negative is stored
without a sign. The inputs of a concatenation share its format, also through concatenations of those, and a view of
channels has its source's, so that both are addressing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from math import frexp

from bfpc.config import Config, LayerFormats
from bfpc.config_sections import ActivationFormat, Position
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Clip, Concat, Layer, Pass, PositionScale, Table
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.functions import Step

SHOWN_NAMES = 4
MIN_TOP = -64  # keeps every exponent within float32


def assign_formats(graph: Graph, config: Config, largest: Mapping[str, float]) -> Graph:
    """largest: for every value the largest magnitude it took in calibration."""
    non_negative = find_non_negative(graph)
    formats = {}
    for value in graph.values:
        formats[value.name] = _format(config.input_format, value.name in non_negative, largest[value.name])
    for node in graph.nodes:
        chosen = layer_formats(graph, config, node).activation
        formats[node.name] = _format(chosen, node.name in non_negative, largest[node.name])
    owners = format_owners(graph)
    nodes = [replace(node, output=replace(node.output, format=formats[owners[node.name]])) for node in graph.nodes]
    values = tuple(replace(value, format=formats[owners[value.name]]) for value in graph.values)
    return replace(graph, values=values).with_nodes(nodes)


def format_owners(graph: Graph) -> dict[str, str]:
    """For each value the one whose format it takes: mostly itself."""
    owners = {value.name: value.name for value in (*graph.values, *(node.output for node in graph.nodes))}
    for node in reversed(graph.nodes):  # outermost concatenations first
        if isinstance(node.op, Concat):
            owners |= dict.fromkeys(node.inputs.values(), owners[node.name])
    for node in graph.nodes:
        if isinstance(node.op, Channels):
            owners[node.name] = owners[node.inputs["x"]]
    return owners


def layer_formats(graph: Graph, config: Config, node: Node) -> LayerFormats:
    """What the config says of one layer, or of a concatenation's output."""
    is_output = node.name in graph.output_names
    return config.layer_formats(node.name, type(node.op).__name__, find_positions(graph, node), is_output=is_output)


def stored_formats(graph: Graph, config: Config, node: Node) -> list[ActivationFormat]:
    """What a layer's map may be stored in, also if it becomes the part of another layer or of a concatenation."""
    positions = find_positions(graph, node)
    return [
        config.layer_formats(node.name, operator, positions, is_output=is_output).activation
        for operator in (type(node.op).__name__, "Concat")
        for is_output in (False, True)
    ]


def find_positions(graph: Graph, node: Node) -> list[Position]:
    """Whether a node is the first or last that has weights."""
    ends: dict[Position, Iterable[Node]] = {"first": graph.nodes, "last": reversed(graph.nodes)}
    weighted = {position: next(filter(_has_weights, nodes), None) for position, nodes in ends.items()}
    return [position for position, end in weighted.items() if end is not None and end.name == node.name]


def _has_weights(node: Node) -> bool:
    return isinstance(node.op, Layer) and "weight" in node.inputs


def check_overrides(graph: Graph, original: Graph, config: Config) -> None:
    """Raises ConfigError where overrides name layers, and the network has none of them: it is another network's config.

    original: the network before its operators were fused. Single ones that no layer matches are warned of.
    """
    patterns = [override.name for override in config.overrides if override.name is not None]
    names = [node.name for node in graph.nodes]
    known = {*names, *(node.name for node in original.nodes)}
    if patterns and not any(fnmatchcase(name, pattern) for name in known for pattern in patterns):
        shown = ", ".join(dict.fromkeys(patterns[:SHOWN_NAMES])) + (" ..." if len(patterns) > SHOWN_NAMES else "")
        what = f"the network has no layer that an override names: {shown}"
        layers = ", ".join(names[:SHOWN_NAMES]) + (" ..." if len(names) > SHOWN_NAMES else "")
        fix = f"give the config of this network, or remove the overrides; its layers are {layers}"
        raise ConfigError(what, where="overrides", fix=fix)


def unused_overrides(graph: Graph, config: Config) -> tuple[str, ...]:
    """A warning for each override that no layer matches."""
    nodes = [(node.name, type(node.op).__name__, find_positions(graph, node)) for node in graph.nodes]
    return tuple(
        f"no layer matches the override {override.selectors()}"
        for override in config.overrides
        if not any(override.matches(*node) for node in nodes)
    )


def _format(chosen: ActivationFormat, non_negative: bool, largest: float) -> BfpFormat:
    signed = not (chosen.unsigned and non_negative)
    bits = chosen.stored_bits(signed=signed)
    return BfpFormat(bits, chosen.block_size, chosen.exponent_range, signed).with_top(top_of(largest))


def top_of(largest: float) -> int:
    """The smallest k with largest < 2**k; 0 for a tensor of zeros. What is tinier than MIN_TOP counts as zero."""
    return max(frexp(largest)[1], MIN_TOP)


def find_non_negative(graph: Graph) -> frozenset[str]:
    """The values that no input can make negative."""
    found: set[str] = set()
    for node in graph.nodes:
        operands = [name for role, name in node.inputs.items() if role == "residual" or role.startswith("x")]
        if (all(name in found for name in operands) and _keeps_sign(node)) or _makes_non_negative(node):
            found.add(node.name)
    return frozenset(found)


def _keeps_sign(node: Node) -> bool:
    """Whether a node makes non-negative numbers of non-negative ones."""
    if not isinstance(node.op, Layer):
        return True
    tail, passes = node.op.tail, isinstance(node.op, Pass) and node.op.pad_value >= 0
    activation = tail.activation is None or isinstance(tail.activation, PositionScale)
    return passes and activation and (tail.residual != "subtract" or "residual" not in node.inputs)


def _makes_non_negative(node: Node) -> bool:
    """Whether a node's activation leaves no negative number, whatever it is applied to."""
    activation = node.op.tail.activation if isinstance(node.op, Layer) else None
    match activation:
        case Clip():
            return activation.low >= 0
        case Table(domain=(low, _)):
            inner = never_negative(activation.steps, from_non_negative=low >= 0)
            return inner and (low >= 0 or not activation.gated)
    return False


def never_negative(steps: Iterable[Step], *, from_non_negative: bool) -> bool:
    """Whether a function is seen from its steps never to be negative on a domain that is, or isn't."""
    holds = from_non_negative
    for name, *parameters in steps:
        match name:
            case "sigmoid" | "exp" | "softplus" | "sqrt":
                holds = True
            case "clip":
                holds = float(parameters[0]) >= 0 or (holds and float(parameters[1]) >= 0)
            case "affine" | "polynomial":
                holds = holds and min(map(float, parameters)) >= 0
            case "power":
                holds = holds or float(parameters[0]) % 2 == 0
            case "elu" | "erf" | "reciprocal" | "softsign" | "tanh":  # the sign of their argument
                pass
            case _:
                holds = False
    return holds
