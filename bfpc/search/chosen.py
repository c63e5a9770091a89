"""The chosen formats as an ordinary config: the most frequent formats, and an override for each layer that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from typing import Any

import yaml

from bfpc.config import Config
from bfpc.config_sections import ActivationFormat, BlockFormat, Format, Override
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Depthwise
from bfpc.passes.assign_formats import layer_formats
from bfpc.search.decisions import Decision

SEARCH_KEYS = ("precision", "budget", "search", "formats", "overrides")


def chosen_config(graph: Graph, config: Config, decisions: Sequence[Decision], formats: Sequence[Format]) -> Config:
    """The config that gives every decision its format.

    graph: of float layers; config: see `searched_config`. Its overrides give way to those that say what was decided;
    its other sections stay as they are.
    """
    kept = {key: value for key, value in config.model_dump(mode="json").items() if key not in SEARCH_KEYS}
    common = Config.model_validate({**kept, "formats": _common(graph, config, decisions, formats)})
    changes = _changes(graph, common, decisions, formats)
    overrides = [
        Override.model_validate({"name": escape(name), **change}).model_dump(mode="json")
        for name, change in changes.items()
    ]
    if not overrides:
        return common
    return Config.model_validate({**common.model_dump(mode="json"), "overrides": overrides})


def _common(graph: Graph, config: Config, decisions: Sequence[Decision], formats: Sequence[Format]) -> dict[str, Any]:
    """The section `formats`: for each kind of tensor what most of them take."""
    counts: dict[str, Counter[Format]] = {key: Counter() for key in ("activation", "weight", "depthwise_weight")}
    given: dict[str, Any] = config.formats.model_dump(mode="json")
    for decision, format in zip(decisions, formats, strict=True):
        if decision.kind == "input":
            given["input"] = format.model_dump()
        else:
            counts[_section(graph, decision)][format] += 1
    most = {key: counter.most_common(1)[0][0] for key, counter in counts.items() if counter}
    return {**given, **{key: _all_keys(format) for key, format in most.items()}}


def _section(graph: Graph, decision: Decision) -> str:
    if decision.kind == "map":
        return "activation"
    node = graph.producer(decision.name)
    return "depthwise_weight" if node is not None and isinstance(node.op, Depthwise) else "weight"


def _changes(
    graph: Graph, common: Config, decisions: Sequence[Decision], formats: Sequence[Format]
) -> dict[str, dict[str, BlockFormat]]:
    """For each node that differs from the common formats what it takes instead."""
    nodes = {node.name: node for node in graph.nodes}
    changes: dict[str, dict[str, BlockFormat]] = {}
    for decision, format in zip(decisions, formats, strict=True):
        if decision.kind == "input":
            continue
        section = _section(graph, decision)
        had = getattr(layer_formats(graph, common, nodes[decision.name]), section)
        differing = {key: value for key, value in _all_keys(format).items() if value != getattr(had, key)}
        if differing:
            kind = "activation" if section == "activation" else "weight"
            model = ActivationFormat if section == "activation" else BlockFormat
            changes.setdefault(decision.name, {})[kind] = model(**differing)
    return changes


def _all_keys(format: Format) -> dict[str, Any]:
    return {key: getattr(format, key) for key in type(format).model_fields}


def chosen_yaml(config: Config, title: Sequence[str], notes: Mapping[str, str]) -> str:
    """The config as a file, with a comment above it and one for each override that `notes` has, by layer name."""
    document = config.model_dump(mode="json")
    overrides = document.pop("overrides", [])
    return "".join(
        [
            *(f"# {line}\n" for line in title),
            *_sections(document),
            *(["overrides:\n"] if overrides else []),
            *(f"  - {_flow(override)}{_comment(override, notes)}\n" for override in overrides),
        ]
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    """Each section with its entries, one a line."""
    for name, section in document.items():
        if isinstance(section, dict):
            yield f"{name}:\n"
            yield from (f"  {_flow({key: value})[1:-1]}\n" for key, value in section.items())
        else:
            yield f"{_flow({name: section})[1:-1]}\n"


def _flow(value: Any) -> str:
    """Plain values as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()


def _comment(override: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    note = notes.get(override.get("name", ""))
    return f"  # {note}" if note else ""
