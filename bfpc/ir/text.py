"""The text form of a graph: what tests compare, `--dump-ir` writes and error notes show.

    graph "example"
    input "image" = %image (N, C, H, W) : 3x32x32 [int5bfp/16 r7 e-4]
    %conv1 = Conv(x=%image, weight=@conv1.weight) {kernel=(3, 3), tail=Tail(activation=Clip())} : 16x30x30
    output "logits" = %conv1 (N, C, H, W)
    constant @conv1.weight : 16x3x3x3 [float32]

`%` marks values and `@` constants. Names with unusual characters are JSON strings. Attributes at their default are left
out. A format reads `int<mantissa bits>bfp/<block size> r<exponent range> e<base exponent>`. A line indented by four
spaces continues the one before. The payload of constants is not part of the text.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from bfpc.ir import operators as ops
from bfpc.ir.graph import Constant, Graph, Node, Port, Shape, Value
from bfpc.ir.layout import Fold
from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.layer import LayerArithmetic

CONTINUATION = "\n    "
CONSTANT_ROLES = ("weight", "bias", "slope", "table", "scale")
BARE_NAME = r"[A-Za-z0-9_.:/-]+"
OPERATORS: Mapping[str, Any] = {cls.__name__: cls for cls in get_args(ops.Operator)}
ATTRIBUTES: Mapping[str, Any] = {cls.__name__: cls for cls in (ops.Tail, *get_args(ops.Activation), ops.Window)}


class TextError(ValueError):
    """The text is not that of a graph; the message names the line."""


# -- printing ---------------------------------------------------------------------------------------------------------


def print_graph(graph: Graph) -> str:
    """The graph as text, one line per input, node, output and constant; ends in a newline."""
    values = {value.name: value for value in graph.values}
    lines = [
        f"graph {json.dumps(graph.name)}",
        *(_print_input(port, values.get(port.value)) for port in graph.inputs),
        *map(_print_node, graph.nodes),
        *(f"output {_print_port(port)}" for port in graph.outputs),
        *(
            f"constant @{_print_name(name)} : {_print_constant(graph.constants[name])}"
            for name in sorted(graph.constants)
        ),
    ]
    return "\n".join(lines) + "\n"


def _print_input(port: Port, value: Value | None) -> str:
    line = f"input {_print_port(port)}"
    if value is not None:  # a graph that fails its check is printed too
        line += _print_type(value)
    line += "" if port.stage == 0 else f" stage({port.stage})"
    return line if port.fold is None else f"{line}{CONTINUATION}fold({_print_fields(port.fold)})"


def _print_node(node: Node) -> str:
    inputs = ", ".join(f"{role}={_print_reference(node, role)}" for role in node.inputs)
    attributes = _print_fields(node.op)
    line = f"%{_print_name(node.name)} = {type(node.op).__name__}({inputs})"
    line += (f" {{{attributes}}}" if attributes else "") + _print_type(node.output)
    return line if node.arithmetic is None else f"{line}{CONTINUATION}arithmetic({_print_fields(node.arithmetic)})"


def _print_reference(node: Node, role: str) -> str:
    return ("@" if role in CONSTANT_ROLES else "%") + _print_name(node.inputs[role])


def _print_name(name: str) -> str:
    return name if re.fullmatch(BARE_NAME, name) else json.dumps(name)


def _print_port(port: Port) -> str:
    axes = ", ".join(axis or "1" for axis in port.axes)
    return f"{json.dumps(port.name)} = %{_print_name(port.value)} ({axes})"


def _print_type(value: Value) -> str:
    return f" : {_print_shape(value.shape)}" + ("" if value.format is None else f" [{_print_format(value.format)}]")


def _print_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _print_format(fmt: BfpFormat) -> str:
    return f"{fmt} r{fmt.exponent_range} e{fmt.exponent}"


def _print_constant(constant: Constant) -> str:
    if isinstance(constant, BfpTensor):
        return f"{_print_shape(constant.mantissas.shape)} [{_print_format(constant.format)}]"
    return f"{_print_shape(constant.shape)} [{constant.dtype}]"


def _print_fields(record: Any) -> str:
    """`name=value, ...` of the fields of a dataclass that differ from their default."""
    pairs = ((f.name, getattr(record, f.name), _default(f)) for f in dataclasses.fields(record))
    return ", ".join(f"{name}={_print_attribute(value)}" for name, value, default in pairs if value != default)


def _default(declared: dataclasses.Field[Any]) -> Any:
    factory = declared.default_factory
    return declared.default if factory is dataclasses.MISSING else factory()


def _print_attribute(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}({_print_fields(value)})"
    return repr(value)


# -- parsing ----------------------------------------------------------------------------------------------------------

NAME = rf'(?:{BARE_NAME}|"(?:[^"\\]|\\.)*")'
TYPE = r" : (?P<shape>\d+x\d+x\d+)(?: \[(?P<format>[^]]*)\])?"
AXES = r"\((?P<axes>[NCHW1, ]*)\)"
FORMAT = re.compile(r"(?P<unsigned>u?)int(?P<mantissa>\d+)bfp/(?P<block>\d+) r(?P<range>\d+) e(?P<exponent>-?\d+)")
ARGUMENT = rf"\w+=[%@]{NAME}"


@dataclass
class _Parts:
    """What the lines read so far have given."""

    name: str = ""
    values: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)


def parse_graph(text: str, constants: Mapping[str, Constant]) -> Graph:
    """The graph that `print_graph` printed, with the payload of its constants taken from `constants`.

    Raises TextError where a line is not understood or a constant's payload is missing or of another shape or format.
    """
    parts = _Parts()
    for line in text.replace(CONTINUATION, " ").splitlines():
        try:
            _parse_line(line, parts, constants)
        except (ValueError, SyntaxError, TypeError) as error:
            raise TextError(f"{error}: {line}") from error
    payload = {name: constants[name] for name in parts.constants}
    return Graph(
        parts.name, tuple(parts.values), tuple(parts.nodes), payload, tuple(parts.inputs), tuple(parts.outputs)
    )


def _parse_line(line: str, parts: _Parts, constants: Mapping[str, Constant]) -> None:
    if not line.strip():
        return None
    for pattern, parse in LINES:
        if match := pattern.fullmatch(line):
            return parse(match, parts, constants)
    raise ValueError("not a line of a graph")


def _parse_header(match: re.Match[str], parts: _Parts, _: Mapping[str, Constant]) -> None:
    parts.name = json.loads(match["name"])


def _parse_input(match: re.Match[str], parts: _Parts, _: Mapping[str, Constant]) -> None:
    fold = None if match["fold"] is None else Fold(**_parse_fields(match["fold"]))
    value = _parse_type(match)
    parts.values.append(value)
    port = Port(json.loads(match["port"]), value.name, _parse_axes(match["axes"]), fold, int(match["stage"] or 0))
    parts.inputs.append(port)


def _parse_output(match: re.Match[str], parts: _Parts, _: Mapping[str, Constant]) -> None:
    parts.outputs.append(Port(json.loads(match["port"]), _parse_name(match["name"]), _parse_axes(match["axes"])))


def _parse_node(match: re.Match[str], parts: _Parts, _: Mapping[str, Constant]) -> None:
    if match["op"] not in OPERATORS:
        raise ValueError(f"no operator {match['op']}")
    op = OPERATORS[match["op"]](**_parse_fields(match["attributes"] or ""))
    arithmetic = None if match["arithmetic"] is None else LayerArithmetic(**_parse_fields(match["arithmetic"]))
    arguments = re.findall(rf"(\w+)=[%@]({NAME})", match["inputs"])
    inputs = {role: _parse_name(name) for role, name in arguments}
    parts.nodes.append(Node(op, inputs, _parse_type(match), arithmetic))


def _parse_constant(match: re.Match[str], parts: _Parts, constants: Mapping[str, Constant]) -> None:
    name = _parse_name(match["name"])
    if name not in constants:
        raise ValueError(f"no payload for constant {name}")
    if (given := _print_constant(constants[name])) != match["type"]:
        raise ValueError(f"the payload of constant {name} is {given}")
    parts.constants.append(name)


LINES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Parts, Mapping[str, Constant]], None]], ...] = (
    (re.compile(r"graph (?P<name>\".*\")"), _parse_header),
    (
        re.compile(
            rf"input (?P<port>{NAME}) = %(?P<name>{NAME}) {AXES}{TYPE}"
            r"(?: stage\((?P<stage>\d+)\))?(?: fold\((?P<fold>.*)\))?"
        ),
        _parse_input,
    ),
    (re.compile(rf"output (?P<port>{NAME}) = %(?P<name>{NAME}) {AXES}"), _parse_output),
    (
        re.compile(
            rf"%(?P<name>{NAME}) = (?P<op>\w+)\((?P<inputs>{ARGUMENT}(?:, {ARGUMENT})*)\)"
            rf"(?: \{{(?P<attributes>[^}}]*)\}})?{TYPE}(?: arithmetic\((?P<arithmetic>.*)\))?"
        ),
        _parse_node,
    ),
    (re.compile(rf"constant @(?P<name>{NAME}) : (?P<type>.*)"), _parse_constant),
)


def _parse_name(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


def _parse_axes(text: str) -> tuple[str, ...]:
    return tuple("" if axis == "1" else axis for axis in text.split(", ")) if text else ()


def _parse_type(match: re.Match[str]) -> Value:
    fmt = None if match["format"] is None else _parse_format(match["format"])
    return Value(_parse_name(match["name"]), _parse_shape(match["shape"]), fmt)


def _parse_shape(text: str) -> Shape:
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def _parse_format(text: str) -> BfpFormat:
    if not (match := FORMAT.fullmatch(text)):
        raise ValueError(f"not a format: {text}")
    mantissa, block, window, exponent = (int(match[part]) for part in ("mantissa", "block", "range", "exponent"))
    return BfpFormat(mantissa, block, window, signed=not match["unsigned"], exponent=exponent)


def _parse_fields(text: str) -> dict[str, Any]:
    """`name=value, ...` as keyword arguments."""
    call = ast.parse(f"_({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): _parse_attribute(keyword.value) for keyword in call.keywords}


def _parse_attribute(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id="inf"):
            return math.inf
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_parse_attribute(operand)
        case ast.Tuple(elts=elements):
            return tuple(map(_parse_attribute, elements))
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if name in ATTRIBUTES:
            return ATTRIBUTES[name](**{str(keyword.arg): _parse_attribute(keyword.value) for keyword in keywords})
    raise ValueError(f"not an attribute: {ast.unparse(node)}")
