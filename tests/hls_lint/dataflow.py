"""DATAFLOW regions in canonical form (UG1399, "Canonical Body"): a sequence of processes, joined by channels.

A region declares local variables and calls functions that return nothing, in order. Each variable but a scalar is
written by one process and read by a later one. A region in a loop is all that its function holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind, TypeKind

from tests.hls_lint.source import Kernel, body_of, callee_of, calls_in, closing, parameters_of, walk, words_of

ASSIGNING = ("=", "+=", "-=", "|=", "&=", "<<=", ">>=", "++", "--")
SCALARS = (TypeKind.BOOL, TypeKind.INT, TypeKind.UINT, TypeKind.LONG, TypeKind.ULONG)
Uses = frozenset[str]
READ, WRITE = "read", "write"


def dataflow_faults(kernel: Kernel) -> Iterator[str]:
    for function in kernel.functions.values():
        for body in (each for each in walk(function) if each.kind == CursorKind.COMPOUND_STMT):
            if any(pragma.name == "DATAFLOW" for pragma in kernel.pragmas_of(body)):
                yield from _region_faults(kernel, function, body)


def _region_faults(kernel: Kernel, function: Cursor, region: Cursor) -> Iterator[str]:
    where = kernel.where(region)
    if region != body_of(function):
        yield from (f"{where}: {fault}" for fault in _loop_faults(function))
    calls = []
    for statement in region.get_children():
        if statement.kind == CursorKind.DECL_STMT:
            yield from (f"{kernel.where(statement)}: {fault}" for fault in _declaration_faults(statement))
        elif statement.kind == CursorKind.CALL_EXPR and callee_of(statement) in kernel.functions:
            calls.append(statement)
            yield from (f"{kernel.where(statement)}: {fault}" for fault in _call_faults(kernel, statement))
        else:
            yield f"{kernel.where(statement)}: neither a declaration nor a process in a DATAFLOW region"
    for variable in (each for each in walk(region) if each.kind == CursorKind.VAR_DECL):
        if variable.type.get_canonical().kind not in SCALARS:
            yield from (f"{kernel.where(variable)}: {fault}" for fault in _channel_faults(kernel, variable, calls))


def _loop_faults(function: Cursor) -> Iterator[str]:
    """The loop around a region: it counts an unsigned integer up from 0, and stands alone."""
    body = body_of(function)
    assert body is not None
    others = [each for each in body.get_children() if each.kind not in (CursorKind.FOR_STMT, CursorKind.DECL_STMT)]
    if others:
        yield "the loop of a DATAFLOW region is not all that its function holds"
    counter = next(each for each in walk(body) if each.kind == CursorKind.VAR_DECL)
    if counter.type.get_canonical().kind != TypeKind.UINT or words_of(counter)[-1] != "0":
        yield f"{counter.spelling}, which counts the loop of a DATAFLOW region, is no unsigned integer from 0 on"


def _declaration_faults(statement: Cursor) -> Iterator[str]:
    words = words_of(statement)
    if "static" in words:
        yield "a static variable in a DATAFLOW region"
    if "=" in words:
        yield "a computation in a DATAFLOW region"


def _call_faults(kernel: Kernel, call: Cursor) -> Iterator[str]:
    name = callee_of(call)
    if kernel.functions[name].result_type.kind != TypeKind.VOID:
        yield f"the process {name} returns something"
    if any(inner.kind == CursorKind.CALL_EXPR for inner in walk(call)):
        yield f"an argument of the process {name} is computed by a function"


def _channel_faults(kernel: Kernel, variable: Cursor, calls: list[Cursor]) -> Iterator[str]:
    processes = [next(calls_in(words_of(call))) for call in calls]
    uses = [(name, _uses_by(kernel, name, arguments, variable.spelling)) for name, arguments in processes]
    for how in (WRITE, READ):
        names = [name for name, found in uses if how in found]
        if len(names) != 1:
            yield f"{len(names)} processes {how} {variable.spelling}, not one: {', '.join(names)}"
    order = [found for _, found in uses if found]
    if order and WRITE not in order[0]:
        yield f"{variable.spelling} is read before it is written"


def _uses_by(kernel: Kernel, callee: str, arguments: list[list[str]], variable: str) -> Uses:
    """What a function does with a variable that it is given."""
    found: Uses = frozenset()
    function = kernel.functions[callee]
    for parameter, words in zip(parameters_of(function), arguments, strict=False):
        if words[0] == variable:
            found |= _uses_in(kernel, function, parameter.spelling)
    return found


def _uses_in(kernel: Kernel, function: Cursor, parameter: str) -> Uses:
    """What a function does with a parameter: itself, and through those that it calls."""
    found: Uses = frozenset()
    words = words_of(body_of(function))
    for callee, arguments in calls_in(words):
        if callee in kernel.functions:
            found |= _uses_by(kernel, callee, arguments, parameter)
    for place, word in enumerate(words):
        if word == parameter and words[place - 1] not in (".", "->"):
            found |= _use_at(words, place)
    return found


def _use_at(words: list[str], place: int) -> Uses:
    """What follows the name of a variable: `.read()` or `.write()` of a stream, an assignment, or else a read.

    Where it is an argument by itself, the function that it is given to tells.
    """
    after = place + 1
    while words[after] in ("[", "."):
        if words[after] == ".":
            if words[after + 1] in (READ, WRITE):
                return frozenset({words[after + 1]})
            after += 2
        else:
            after = closing(words, after) + 1
    if words[after] in ASSIGNING:
        return frozenset({WRITE})
    is_argument = words[after] in (",", ")") and words[place - 1] in (",", "(")
    return frozenset() if is_argument else frozenset({READ})
