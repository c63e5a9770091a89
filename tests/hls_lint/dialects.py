"""The directives of the tools that take those of a loop before it: Intel's HLS compiler and PandA-Bambu.

Intel's are pragmas of their own (Intel HLS Compiler Pro Edition Reference Manual 683349, "Loops in Components").
Bambu's are what its Clang plugin parses (PandA-Bambu, plugin_ASTAnalyzer): in lower case, of a loop before it, of a
function in its body. The plugin visits no templates, and takes a directive in one for one of the next function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clang.cindex import Cursor, CursorKind

from tests.hls_lint.source import LOOPS, Kernel, body_of, parameters_of, walk

PRAGMA = re.compile(r"\s*#\s*pragma\s+(.*\S)")
NO_CODE = re.compile(r"\s*(#.*)?")
LOOP = re.compile(r"\s*for \(")


@dataclass(frozen=True)
class Dialect:
    """Patterns of the directives that stand before a loop, and of those in a function's body."""

    of_loops: re.Pattern[str]
    of_functions: re.Pattern[str]


INTEL = Dialect(
    re.compile(
        r"unroll( \d+)?|ivdep( safelen\(\d+\))?( array\(\w+\))?|ii \d+|loop_coalesce( \d+)?|max_concurrency \d+"
    ),
    re.compile(r"(?!)"),
)
BAMBU = Dialect(
    re.compile(r"HLS unroll( factor=\d+| off=true)?"),
    re.compile(
        r"HLS pipeline( II=1)?( style=frp)?|HLS inline( off| recursive)?|HLS dataflow|"
        r"HLS interface port=(?P<port>\w+) mode=(m_axi|axis|fifo|bus|array|none|handshake|valid|ovalid|acknowledge)"
        r"( offset=direct)?( bundle=\w+)?"
    ),
)


def dialect_faults(kernel: Kernel, dialect: Dialect) -> list[str]:
    """As `file:line: what`."""
    return [f"{where}: {fault}" for where, fault in _faults(kernel, dialect)]


def unrolled_before(kernel: Kernel, dialect: Dialect) -> set[str | None]:
    """Where the loops stand that a directive before them unrolls."""
    found = (number for number, _, text in _pragmas(kernel) if dialect.of_loops.fullmatch(text) and "unroll" in text)
    return {kernel.origins[_next_code(kernel, number)] for number in found}


def unrolled_inside(kernel: Kernel) -> set[str | None]:
    """Where the loops stand whose body begins with a directive that unrolls them."""
    loops = (each for function in kernel.functions.values() for each in walk(function) if each.kind in LOOPS)
    bodies = ((loop, body_of(loop)) for loop in loops)
    return {
        kernel.where(loop)
        for loop, body in bodies
        if body is not None and any(pragma.name == "UNROLL" for pragma in kernel.pragmas_of(body))
    }


def _pragmas(kernel: Kernel) -> Iterator[tuple[int, str, str]]:
    """Index of the line, where it comes from, and the text of what the folder's files hold."""
    for number, (line, origin) in enumerate(zip(kernel.lines, kernel.origins, strict=True)):
        found = PRAGMA.fullmatch(line)
        if found and origin and found[1] != "once":
            yield number, origin, found[1]


def _faults(kernel: Kernel, dialect: Dialect) -> Iterator[tuple[str, str]]:
    for number, origin, text in _pragmas(kernel):
        if dialect.of_loops.fullmatch(text):
            if not LOOP.match(kernel.lines[_next_code(kernel, number)]):
                yield origin, f"{text} stands before no loop"
        elif found := dialect.of_functions.fullmatch(text):
            yield from ((origin, f"{text}: {fault}") for fault in _function_faults(kernel, number, found["port"]))
        else:
            yield origin, f"unknown directive: {text}"


def _next_code(kernel: Kernel, number: int) -> int:
    """The index of the first line of code after one."""
    return next(
        (later for later in range(number + 1, len(kernel.lines)) if not NO_CODE.fullmatch(kernel.lines[later])), number
    )


def _function_faults(kernel: Kernel, number: int, port: str | None) -> Iterator[str]:
    function = next((each for each in kernel.functions.values() if _holds(each, number + 1)), None)
    if function is None:
        yield "stands in no function"
    elif function.kind == CursorKind.FUNCTION_TEMPLATE:
        yield f"stands in a template, {function.spelling}"
    elif port is not None and port not in {each.spelling for each in parameters_of(function)}:
        yield f"{function.spelling} has no argument {port}"


def _holds(function: Cursor, line: int) -> bool:
    return bool(function.extent.start.line <= line <= function.extent.end.line)
