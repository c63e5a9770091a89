"""The arrays and FIFOs that a rendered kernel declares, as Clang sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from clang.cindex import Cursor, CursorKind, StorageClass, Type, TypeKind

from tests.backend.integer_headers import ap_int_headers
from tests.hls_lint.directives import Pragma
from tests.hls_lint.source import Kernel, body_of, calls_in, read_kernel, walk, words_of

STREAM = "hls::stream<"
INTEGER = re.compile(r"ap_u?int<(\d+)>")
BITS = {TypeKind.BOOL: 1, TypeKind.INT: 32, TypeKind.UINT: 32, TypeKind.LONG: 64, TypeKind.ULONG: 64}
PROBES = "declared_memories.cpp"


@dataclass(frozen=True)
class Declared:
    """A declaration. copies: arrays of FIFOs, and arrays that a directive parts; None where one copies the array."""

    function: str
    name: str
    is_fifo: bool
    depth: int
    bits: int
    copies: int | None
    doubled: bool


def declared_memories(folder: Path) -> list[Declared]:
    """Those of the project in a folder. A template's are told once for each of its calls."""
    source, flags = folder / "src" / "bfpc_accelerator.cpp", ("-DBFPC_AP_INT", f"-I{ap_int_headers()}")
    plain, directed = read_kernel(source, *flags), read_kernel(source, "-DBFPC_PRAGMAS", *flags)
    pragmas = {name: list(_pragmas(directed, function)) for name, function in directed.functions.items()}
    found = [
        _Variable(name, variable, arguments, pragmas[name])
        for name, function in plain.functions.items()
        for variable in walk(function)
        if variable.kind == CursorKind.VAR_DECL and variable.storage_class == StorageClass.STATIC
        for arguments in _instances(plain, function)
    ]
    values = _evaluate(folder, {text for variable in found for text in variable.expressions})
    return [variable.declared(values) for variable in found]


def port_beats(folder: Path) -> set[int]:
    """Beats under way that each memory port's directive allows."""
    flags = ("-DBFPC_PRAGMAS", "-DBFPC_AP_INT", f"-I{ap_int_headers()}")
    kernel = read_kernel(folder / "src" / "bfpc_accelerator.cpp", *flags)
    ports = [pragma for pragma in kernel.pragmas if pragma.option("mode") == "m_axi"]
    return {
        int(port.option("num_read_outstanding") or 0) * int(port.option("max_read_burst_length") or 0) for port in ports
    }


@dataclass(frozen=True)
class _Variable:
    """arguments: of the function's template, for this call."""

    function: str
    cursor: Cursor
    arguments: dict[str, str]
    pragmas: list[Pragma]

    @property
    def is_fifo(self) -> bool:
        return STREAM in _element(self.cursor.type).get_canonical().spelling

    @property
    def extents(self) -> list[str]:
        """As they stand in the source; of a named type as Clang knows them."""
        words = words_of(self.cursor)
        written = [words[place + 1] for place, word in enumerate(words) if word == "["]
        if not written:
            written = [str(size) for size in _sizes(self.cursor.type)]
        return [self.arguments.get(text, text) for text in written]

    def option(self, directive: str, option: str) -> str | None:
        mine = (p for p in self.pragmas if p.name == directive and p.option("variable") == self.cursor.spelling)
        return next((pragma.option(option) for pragma in mine), None)

    @property
    def expressions(self) -> list[str]:
        depth = self.option("STREAM", "depth")
        return [*self.extents, *([depth] if depth else [])]

    def declared(self, values: dict[str, int]) -> Declared:
        extents, element = [values[text] for text in self.extents], _element(self.cursor.type)
        if self.is_fifo:
            depth, copies = values[self.option("STREAM", "depth") or ""], prod(extents)
            return self._as(depth, _bits(element.get_canonical().get_template_argument_type(0)), copies)
        parted = self.option("ARRAY_PARTITION", "dim")
        copies = extents.pop(int(parted) - 1) if parted else 1
        copied = self.option("BIND_STORAGE", "type") == "ram_1wnr"
        return self._as(prod(extents), _bits(element), None if copied else copies)

    def _as(self, depth: int, bits: int, copies: int | None) -> Declared:
        in_region = any(pragma.name == "DATAFLOW" for pragma in self.pragmas)
        doubled = in_region and not self.is_fifo
        return Declared(self.function, self.cursor.spelling, self.is_fifo, depth, bits, copies, doubled)


def _pragmas(kernel: Kernel, function: Cursor) -> Iterator[Pragma]:
    for body in walk(function):
        if body.kind == CursorKind.COMPOUND_STMT:
            yield from kernel.pragmas_of(body)


def _instances(kernel: Kernel, function: Cursor) -> Iterator[dict[str, str]]:
    """The arguments of a function's template in each of its calls; of a plain function once nothing."""
    names = [each.spelling for each in function.get_children() if each.kind == CursorKind.TEMPLATE_NON_TYPE_PARAMETER]
    if not names:
        yield {}
        return
    for caller in kernel.functions.values():
        words = words_of(body_of(caller)) if body_of(caller) else []
        called = {callee for callee, _ in calls_in(words)}
        for place, word in enumerate(words):
            if word == function.spelling and word in called and words[place + 1] == "<":
                yield dict(zip(names, words[place + 2 : words.index(">", place) : 2], strict=False))


def _element(type: Type) -> Type:
    """What an array holds, however deep."""
    type = type.get_canonical()
    while type.kind in (TypeKind.CONSTANTARRAY, TypeKind.DEPENDENTSIZEDARRAY):
        type = type.element_type
    return type


def _sizes(type: Type) -> Iterator[int]:
    type = type.get_canonical()
    while type.kind == TypeKind.CONSTANTARRAY:
        yield type.element_count
        type = type.element_type


def _bits(type: Type) -> int:
    """Of a value: those of a structure's fields side by side."""
    type = type.get_canonical()
    if type.kind == TypeKind.CONSTANTARRAY:
        return int(type.element_count) * _bits(type.element_type)
    if type.kind in BITS:
        return BITS[type.kind]
    if integer := INTEGER.fullmatch(type.spelling):
        return int(integer[1])
    fields = list(type.get_fields())
    assert fields, f"{type.spelling}: neither an integer nor a structure"
    return sum(_bits(field.type) for field in fields)


def _evaluate(folder: Path, expressions: Iterable[str]) -> dict[str, int]:
    """Constant expressions of the accelerator's source."""
    ordered = sorted(expressions)
    lines = [f"PROBE_{index} = ({text})," for index, text in enumerate(ordered)]
    path = folder / "src" / PROBES
    path.write_text("\n".join(['#include "bfpc_accelerator.cpp"', "enum Probes {", *lines, "};"]))
    kernel = read_kernel(path, "-DBFPC_AP_INT", f"-I{ap_int_headers()}")
    [probes] = [each for each in kernel.top if each.kind == CursorKind.ENUM_DECL and each.spelling == "Probes"]
    return {text: probe.enum_value for text, probe in zip(ordered, probes.get_children(), strict=True)}
