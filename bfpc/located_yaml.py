"""YAML with the place of every value, so that a fault in it can be pointed at.

Knows nothing of what the YAML means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bfpc.errors import ConfigError, first_line

MAX_BYTES = 1 << 24
MAX_DEPTH = 32
MAX_VALUES = 1 << 17  # with every alias written out: a few lines of aliases of aliases may stand for billions

Content = dict[str, "Located"] | list["Located"] | str | int | float | bool | None


@dataclass(frozen=True)
class Located:
    """A YAML value and the file and line (from 1) where it stands; a mapping's values stand where their keys do."""

    content: Content
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def plain(self) -> Any:
        """The value as Python's own dicts, lists and scalars."""
        if isinstance(self.content, dict):
            return {key: value.plain() for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain() for value in self.content]
        return self.content

    def find(self, path: Sequence[str | int]) -> Located:
        """The value at `path`, or the innermost one on the way that exists."""
        if not path:
            return self
        head, *rest = path
        if isinstance(self.content, dict) and head in self.content:
            return self.content[str(head)].find(rest)
        if isinstance(self.content, list) and isinstance(head, int) and head < len(self.content):
            return self.content[head].find(rest)
        return self


def read(path: Path, name: str) -> Located:
    """Parses a file, called `name` in messages. An empty one is an empty mapping. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not a text file: {error.reason}", where=name, fix="save it as UTF-8") from None
    except OSError as error:
        fix = "name a YAML file that can be read"
        raise ConfigError(f"cannot read the config: {error.strerror}", where=name, fix=fix) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the config has more than {MAX_BYTES:,} bytes", where=name, fix="name a YAML file")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return _locate(loader, node, name, 1, ()) if node else Located({}, name, 1)
    except _TooMuch as error:
        raise ConfigError(f"the config holds {error}", where=name, fix="write it out plainly") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"not valid YAML: {error.problem}", where=where, fix="check indentation and colons") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {first_line(error)}", where=name, fix="write it as plain text") from None


class _TooMuch(Exception):
    """The YAML is of a size that no config has."""


class _Loader(yaml.SafeLoader):
    """Plain values only, as far as they are nested and as many as a config has."""

    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooMuch(f"values within values, {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def count(self) -> None:
        """Counts a value that is kept, which may be one of an alias."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise _TooMuch(f"more than {MAX_VALUES:,} values, those of aliases counted each time")


def merge(base: Located, change: Located) -> Located:
    """`base` with `change` on top: mappings key by key, anything else replaced."""
    if not (isinstance(base.content, dict) and isinstance(change.content, dict)):
        return change
    merged = dict(base.content)
    for key, value in change.content.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return Located(merged, change.file, change.line)


def _locate(loader: _Loader, node: yaml.Node, file: str, line: int, parents: tuple[yaml.Node, ...]) -> Located:
    loader.count()
    if node in parents:
        raise ConfigError("an alias refers to a value that contains it", where=f"{file}:{line}", fix="write it out")
    inside = (*parents, node)
    if isinstance(node, yaml.MappingNode):
        return Located(_locate_mapping(loader, node, file, inside), file, line)
    if isinstance(node, yaml.SequenceNode):
        items = [_locate(loader, item, file, item.start_mark.line + 1, inside) for item in node.value]
        return Located(items, file, line)
    try:
        return Located(loader.construct_object(node), file, line)
    except Exception as error:  # what PyYAML raises on a value that is none of its !!tag is not documented
        fix = "write it as plain text"
        raise ConfigError(f"not valid YAML: {first_line(error)}", where=f"{file}:{line}", fix=fix) from None


def _locate_mapping(
    loader: _Loader, node: yaml.MappingNode, file: str, parents: tuple[yaml.Node, ...]
) -> dict[str, Located]:
    values: dict[str, Located] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError("a key is a mapping or a list", where=f"{file}:{line}", fix="give names as keys")
        key = str(key_node.value)
        if key in values:
            first = values[key].line
            raise ConfigError(f"{key} stands twice", where=f"{file}:{line}", fix=f"remove this one or line {first}")
        values[key] = _locate(loader, value_node, file, line, parents)
    return values
