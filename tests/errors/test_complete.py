"""Every place of the source that makes an error a user can cause stands in the golden tables of errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bfpc import errors
from tests.conftest import GOLDEN
from tests.errors.provoke import SOURCES

KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
ENTRY = re.compile(r"(?ms)^# [^\n]*\n(?:\$ bfpc|>>>) [^\n]*\n(?P<said>.*?)\((?P<places>bfpc/\S+\.py, [^)\n]+)\)$")

# Errors that only the library's own functions can be made to raise, and the tests that do it.
ELSEWHERE = {
    "bfpc/backend/architecture.py, _check_array": (
        "backend/test_architecture.py",
        "blocks_that_do_not_fit",
    ),
    "bfpc/backend/architecture.py, _check_blocks": (
        "backend/test_architecture.py",
        "blocks_that_do_not_fit",
    ),
    "bfpc/backend/memory_plan.py, _concat_offsets": (
        "backend/test_memory_plan.py",
        "joined_maps_must_fill",
    ),
    "bfpc/backend/program.py, decode_program": ("backend/test_program.py", "a_foreign_header_is_refused"),
    "bfpc/backend/tiling.py, _too_large": ("backend/test_schedule.py", "a_layer_that_does_not_fit_is_refused_with_the"),
    "bfpc/emulator/host_graphs.py, _cannot_convert": ("emulator/test_export.py", "what_cannot_be_converted_is_named"),
    "bfpc/runtime/session.py, _join": ("test_runtime.py", "an_output_without_an_axis_of_images_takes_one_at_a_time"),
    "bfpc/runtime/simulation.py, run_simulation": ("test_verify.py", "a_simulation_that_stops_says_why"),
}


def test_errors_of_library_functions_have_tests() -> None:
    for file, name in ELSEWHERE.values():
        assert f"def test_{name}" in (GOLDEN.parent / file).read_text(), name


@dataclass(frozen=True)
class Site:
    """A call that makes an error: its file and function, its line, and patterns of what it may say."""

    place: str
    line: int
    patterns: tuple[str, ...]


def test_every_error_is_in_the_tables() -> None:
    said: dict[str, list[str]] = {}
    for path in (GOLDEN / "errors").glob("*.txt"):
        for entry in ENTRY.finditer(path.read_text()):
            for place in entry["places"].split("; "):
                said.setdefault(place, []).append(entry["said"])
    missing = [
        f"{site.place}, line {site.line}: {' | '.join(site.patterns)}"
        for site in find_sites()
        if not any(re.search(pattern, text) for pattern in site.patterns for text in said.get(site.place, ()))
        and site.place not in ELSEWHERE
    ]
    assert not missing, "\n".join(["no entry in tests/golden/errors:", *missing])


def find_sites() -> Iterator[Site]:
    for path in sorted((SOURCES / "bfpc").rglob("*.py")):
        if path.name != "errors.py":
            yield from _of_scope(ast.parse(path.read_text()), path.relative_to(SOURCES).as_posix(), "<module>")


def _of_scope(scope: ast.AST, file: str, name: str) -> Iterator[Site]:
    """The sites of a module, class or function, and of those in it."""
    inner = (ast.FunctionDef, ast.ClassDef)
    for node in _own_nodes(scope):
        if isinstance(node, inner):
            below = node.name if name == "<module>" else f"{name}.{node.name}"
            if isinstance(scope, ast.FunctionDef):
                below = f"{name}.<locals>.{node.name}"
            yield from _of_scope(node, file, below)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
            yield Site(f"{file}, {name}", node.lineno, tuple(_patterns(node.args[0], scope, node.lineno)))


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a scope that are not in a scope below; of those the scope itself."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _own_nodes(child)


def _patterns(text: ast.expr, scope: ast.AST, line: int) -> Iterator[str]:
    """Regular expressions of what an expression on a line may say; whatever is worked out stands for anything."""
    match text:
        case ast.Constant(value=str(value)):
            yield re.escape(value)
        case ast.JoinedStr(values=parts):
            yield "(?s:.*)".join(re.escape(str(part.value)) for part in parts if isinstance(part, ast.Constant))
        case ast.IfExp(body=body, orelse=otherwise):
            yield from (*_patterns(body, scope, line), *_patterns(otherwise, scope, line))
        case ast.Name(id=name):
            before = [value for value in _assigned(name, scope) if value.lineno <= line]
            nearest = max(before, key=lambda value: value.lineno, default=None)
            yield from [".*"] if nearest is None else _patterns(nearest, scope, nearest.lineno)
        case _:
            yield ".*"


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in _own_nodes(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                match target, node.value:
                    case ast.Name(id=found), value if found == name:
                        yield value
                    case ast.Tuple(elts=targets), ast.Tuple(elts=values):
                        names = [each.id if isinstance(each, ast.Name) else "" for each in targets]
                        yield from (value for each, value in zip(names, values, strict=True) if each == name)
