"""What a kernel for Vitis HLS may not do. Each rule finds faults, as `file:line: what`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind, TypeKind

from tests.hls_lint.dataflow import dataflow_faults
from tests.hls_lint.directives import DIRECTIVES, NUMBER, VARIABLE, Place, Pragma, grammar_faults
from tests.hls_lint.source import LOOPS, Kernel, body_of, callee_of, calls_in, parameters_of, walk, words_of

FORBIDDEN = {
    CursorKind.CXX_NEW_EXPR: "dynamic memory",
    CursorKind.CXX_DELETE_EXPR: "dynamic memory",
    CursorKind.CXX_THROW_EXPR: "an exception",
    CursorKind.CXX_TRY_STMT: "an exception",
    CursorKind.GOTO_STMT: "goto",
    CursorKind.WHILE_STMT: "a loop that is not a for",
    CursorKind.DO_STMT: "a loop that is not a for",
    CursorKind.LAMBDA_EXPR: "a lambda",
    CursorKind.CXX_DYNAMIC_CAST_EXPR: "a dynamic cast",
    CursorKind.CXX_TYPEID_EXPR: "a type at run time",
}
ALLOCATING = ("malloc", "calloc", "realloc", "free")


def lint(kernel: Kernel) -> list[str]:
    """All faults, in the order of the rules. Channels are followed through calls, which have to end."""
    found = [fault for rule in RULES for fault in rule(kernel)]
    return found if any(no_recursion(kernel)) else [*found, *dataflow_faults(kernel)]


def directives_are_known(kernel: Kernel) -> Iterator[str]:
    for pragma in kernel.pragmas:
        yield from (f"{pragma.where}: {fault}" for fault in grammar_faults(pragma))


def directives_stand_where_they_belong(kernel: Kernel) -> Iterator[str]:
    """In the body of a function or a loop, on variables that are in scope there, with numbers known to the compiler."""
    for function in kernel.functions.values():
        for body, place in _bodies(function):
            for pragma in kernel.pragmas_of(body):
                yield from (
                    f"{pragma.where}: {fault}" for fault in _misplaced(pragma, place, function, kernel.constants)
                )


def _bodies(function: Cursor) -> Iterator[tuple[Cursor, Place]]:
    """The compound statements of a function."""
    bodies = (body_of(each) for each in walk(function) if each.kind in LOOPS)
    loops = [body for body in bodies if body is not None]
    for each in walk(function):
        if each.kind == CursorKind.COMPOUND_STMT:
            of_loop = any(each == loop for loop in loops)
            yield each, Place.LOOP if of_loop else Place.FUNCTION if each == body_of(function) else Place.OTHER


def _misplaced(pragma: Pragma, place: Place, function: Cursor, constants: frozenset[str]) -> Iterator[str]:
    directive = DIRECTIVES.get(pragma.name)
    if directive is None:
        return
    if place not in directive.places:
        yield f"{pragma.name} stands in {place.value}"
    variables = _variables_before(pragma, function) | ({"return"} if pragma.name == "INTERFACE" else set())
    template = {each.spelling for each in walk(function) if each.kind == CursorKind.TEMPLATE_NON_TYPE_PARAMETER}
    for name, value in pragma.options:
        kind = directive.options.get(name)
        if kind == VARIABLE and (value or "").partition(".")[0] not in variables:
            yield f"{pragma.name}: no variable {value} is in scope"
        if kind == NUMBER and value is not None and not value.isdigit() and value not in constants | template:
            yield f"{pragma.name} {name}={value} is no constant"


def _variables_before(pragma: Pragma, function: Cursor) -> set[str]:
    local = (each for each in walk(function) if each.kind == CursorKind.VAR_DECL)
    declared = {each.spelling for each in local if each.extent.start.line <= pragma.line}
    return declared | {each.spelling for each in parameters_of(function)}


def nothing_a_tool_cannot_build(kernel: Kernel) -> Iterator[str]:
    """No dynamic memory, exceptions, jumps, virtual methods or function pointers."""
    for top in kernel.top:
        for each in (top, *walk(top)):
            if each.kind in FORBIDDEN:
                yield f"{kernel.where(each)}: {FORBIDDEN[each.kind]}"
            if each.kind == CursorKind.CALL_EXPR and callee_of(each) in ALLOCATING:
                yield f"{kernel.where(each)}: dynamic memory"
            if each.kind == CursorKind.CXX_METHOD and each.is_virtual_method():
                yield f"{kernel.where(each)}: a virtual method, {each.spelling}"
            if each.kind in (CursorKind.VAR_DECL, CursorKind.PARM_DECL, CursorKind.FIELD_DECL) and _to_function(each):
                yield f"{kernel.where(each)}: a pointer to a function, {each.spelling}"


def _to_function(variable: Cursor) -> bool:
    return bool(variable.type.get_pointee().kind == TypeKind.FUNCTIONPROTO)


def nothing_of_the_standard_library(kernel: Kernel) -> Iterator[str]:
    """But its integers, whose names need no `std::`."""
    for line, origin in zip(kernel.lines, kernel.origins, strict=True):
        if origin and (found := re.search(r"\bstd::\w+", line)):
            yield f"{origin}: {found[0]} of the standard library"


def no_recursion(kernel: Kernel) -> Iterator[str]:
    """Constexpr functions aside: the compiler evaluates them."""
    calls = {
        name: {callee_of(each) for each in walk(function) if each.kind == CursorKind.CALL_EXPR}
        | {callee for callee, _ in calls_in(words_of(body_of(function)))}
        for name, function in kernel.functions.items()
        if "constexpr" not in _declaration(function)
    }
    for name in calls:
        reached, new = set[str](), calls[name]
        while new:
            reached |= new
            new = {further for callee in new for further in calls.get(callee, ())} - reached
        if name in reached:
            yield f"{kernel.where(kernel.functions[name])}: {name} is recursive"


def _declaration(function: Cursor) -> list[str]:
    """The tokens before a function's body."""
    words = words_of(function)
    return words[: words.index("{")]


def loops_are_bounded(kernel: Kernel) -> Iterator[str]:
    """A loop that is unrolled has a constant number of trips; of any other that has not, a directive tells it."""
    for function in kernel.functions.values():
        if "constexpr" in _declaration(function):
            continue
        for loop in (each for each in walk(function) if each.kind == CursorKind.FOR_STMT):
            body = body_of(loop)
            names = {pragma.name for pragma in kernel.pragmas_of(body)} if body is not None else set()
            fixed = _has_constant_bound(loop, kernel, function)
            if "UNROLL" in names and not fixed:
                yield f"{kernel.where(loop)}: an unrolled loop whose bound is no constant"
            if not fixed and "LOOP_TRIPCOUNT" not in names:
                yield f"{kernel.where(loop)}: a loop without a bound: neither a constant nor LOOP_TRIPCOUNT"


def _has_constant_bound(loop: Cursor, kernel: Kernel, function: Cursor) -> bool:
    """Whether what the loop variable is compared with is made of constants, parameters of templates among them."""
    condition = next((each for each in loop.get_children() if each.kind == CursorKind.BINARY_OPERATOR), None)
    if condition is None:
        return False
    parents = (function, function.semantic_parent)
    own = {
        each.spelling
        for parent in parents
        if parent is not None
        for each in parent.get_children()
        if each.kind in (CursorKind.TEMPLATE_NON_TYPE_PARAMETER, CursorKind.VAR_DECL)
    }
    names = {token.spelling for token in condition.get_tokens() if token.spelling.isidentifier()}
    return names <= kernel.constants | own | {_loop_variable(loop)}


def _loop_variable(loop: Cursor) -> str:
    return next((each.spelling for each in walk(loop) if each.kind == CursorKind.VAR_DECL), "")


RULES = (
    directives_are_known,
    directives_stand_where_they_belong,
    nothing_a_tool_cannot_build,
    nothing_of_the_standard_library,
    no_recursion,
    loops_are_bounded,
)
