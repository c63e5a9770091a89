"""A kernel as a synthesis tool sees it: preprocessed, parsed by Clang, with its directives."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clang.cindex import Cursor, CursorKind, Diagnostic, Index

from tests.hls_lint.directives import Pragma, parse_pragma

MARKER = re.compile(r'# (\d+) "([^"]*)"')
PRAGMA = re.compile(r"\s*#\s*pragma\s+HLS\s+(.*)")
LOOPS = (CursorKind.FOR_STMT, CursorKind.WHILE_STMT, CursorKind.DO_STMT, CursorKind.CXX_FOR_RANGE_STMT)
FUNCTIONS = (
    CursorKind.FUNCTION_DECL,
    CursorKind.FUNCTION_TEMPLATE,
    CursorKind.CXX_METHOD,
    CursorKind.CONSTRUCTOR,
)
BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
LINKAGE = (CursorKind.LINKAGE_SPEC, CursorKind.UNEXPOSED_DECL)  # extern "C", the latter with older libclang
SCOPES = (CursorKind.NAMESPACE, CursorKind.STRUCT_DECL, CursorKind.CLASS_DECL, CursorKind.CLASS_TEMPLATE)


@dataclass(frozen=True)
class Kernel:
    """What the sources below one folder hold; what they include from elsewhere is left out.

    top: its functions, types and constants, in their order. functions: those with a body, by qualified name. lines: of
    the preprocessed text; origins: of each the file in the folder and its line, or None.
    """

    top: tuple[Cursor, ...]
    functions: dict[str, Cursor]
    pragmas: tuple[Pragma, ...]
    lines: tuple[str, ...]
    origins: tuple[str | None, ...]

    def where(self, cursor: Cursor) -> str:
        return self.origins[cursor.extent.start.line - 1] or "?"

    @cached_property
    def constants(self) -> frozenset[str]:
        """The names of the variables outside functions."""
        return frozenset(each.spelling for each in self.top if each.kind == CursorKind.VAR_DECL)

    def pragmas_of(self, body: Cursor) -> list[Pragma]:
        """Those that stand in a body itself, not in one inside it."""
        inner = [each for each in walk(body) if each.kind == CursorKind.COMPOUND_STMT]
        return [pragma for pragma in self.pragmas if _holds(body, pragma) and not any(_holds(i, pragma) for i in inner)]


def read_kernel(source: Path, *flags: str, folder: Path | None = None) -> Kernel:
    """The kernel of a source file; flags: of the preprocessor; folder: of the sources that belong to it, the file's own
    where it is None. Raises CalledProcessError or ValueError."""
    command = ["g++", "-std=c++14", "-E", *flags, str(source)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    origins = tuple(_origins(text, folder or source.parent))
    unit = Index.create().parse(
        "kernel.cpp",
        ["-std=c++14", "-Wno-unknown-pragmas", "-ferror-limit=0"],
        unsaved_files=[("kernel.cpp", text)],
    )
    # System headers may use attributes of a newer compiler; only the kernel itself has to parse. Clang must not give up
    # over them.
    errors = [str(found) for found in unit.diagnostics if found.severity >= found.Error and _origin(origins, found)]
    if errors:
        raise ValueError(f"{source} does not parse: {errors[0]}")
    top = tuple(each for each in unit.cursor.get_children() if origins[each.extent.start.line - 1])
    functions = {qualified_name(each): each for each in _functions(top)}
    return Kernel(top, functions, tuple(_pragmas(text, origins)), tuple(text.splitlines()), origins)


def _origin(origins: tuple[str | None, ...], found: Diagnostic) -> str | None:
    line = found.location.line
    return origins[line - 1] if 0 < line <= len(origins) else None


def _origins(text: str, folder: Path) -> Iterator[str | None]:
    name, line, belongs = "", 0, False
    for content in text.splitlines():
        marker = MARKER.match(content)
        yield f"{name}:{line}" if not marker and belongs else None
        line += 1
        if marker:
            path = Path(os.path.normpath(marker[2]))
            name, line, belongs = path.name, int(marker[1]), path.is_relative_to(folder)


def _pragmas(text: str, origins: tuple[str | None, ...]) -> Iterator[Pragma]:
    for number, (content, origin) in enumerate(zip(text.splitlines(), origins, strict=True), start=1):
        found = PRAGMA.match(content)
        if found and origin:
            yield parse_pragma(found[1], number, origin)


def _functions(cursors: tuple[Cursor, ...]) -> Iterator[Cursor]:
    for cursor in cursors:
        if cursor.kind in FUNCTIONS and body_of(cursor) is not None:
            yield cursor
        elif cursor.kind in (*SCOPES, *LINKAGE):
            yield from _functions(tuple(cursor.get_children()))


def walk(cursor: Cursor) -> Iterator[Cursor]:
    """All that is inside a cursor, outermost first."""
    for child in cursor.get_children():
        yield child
        yield from walk(child)


def body_of(cursor: Cursor) -> Cursor | None:
    """The compound statement of a function or a loop."""
    bodies = [child for child in cursor.get_children() if child.kind == CursorKind.COMPOUND_STMT]
    return bodies[-1] if bodies else None


def parameters_of(function: Cursor) -> list[Cursor]:
    return [child for child in function.get_children() if child.kind == CursorKind.PARM_DECL]


def words_of(cursor: Cursor) -> list[str]:
    """Its tokens."""
    return [token.spelling for token in cursor.get_tokens()]


def qualified_name(cursor: Cursor) -> str:
    """Of a function or method, without namespaces and template arguments."""
    parent = cursor.semantic_parent
    return f"{parent.spelling}::{cursor.spelling}" if parent and parent.kind in SCOPES[1:] else str(cursor.spelling)


def callee_of(call: Cursor) -> str:
    """The qualified name of what a call calls. Where it depends on a template's parameters, a method goes without."""
    return qualified_name(call.referenced) if call.referenced is not None else words_of(call)[0]


def calls_in(words: list[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """The functions that tokens call, inner calls among them, and the tokens of their arguments.

    Of a call in a template Clang's tree may tell nothing, its tokens do.
    """
    for place, word in enumerate(words[:-1]):
        opening = place + 1
        if words[opening] == "<" and ">" in words[opening:]:
            opening = words.index(">", opening) + 1
        if word.isidentifier() and words[place - 1] not in (".", "->") and words[opening : opening + 1] == ["("]:
            yield word, _split(words[opening + 1 : closing(words, opening)])


def closing(words: list[str], opening: int) -> int:
    """Where the bracket closes that opens at a place."""
    depth = 0
    for place, word in enumerate(words[opening:], start=opening):
        depth += BRACKETS.get(word, 0)
        if not depth:
            return place
    raise ValueError("a bracket does not close")


def _split(words: list[str]) -> list[list[str]]:
    """At the commas outside brackets."""
    parts: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += BRACKETS.get(word, 0)
        if word == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts if parts != [[]] else []


def _holds(body: Cursor, pragma: Pragma) -> bool:
    return bool(body.extent.start.line <= pragma.line <= body.extent.end.line)
