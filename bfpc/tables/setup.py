"""What bfpc found around itself, and what it wrote to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from bfpc.tables.parts import several, text_table

if TYPE_CHECKING:
    from bfpc.doctor import Diagnosis
    from bfpc.initial_config import Started


def diagnosis(found: Diagnosis) -> RenderableType:
    """Every part, and what is to be done about those that are missing."""
    rows = [(part.name, part.found or "missing", part.purpose, part.fix) for part in found.parts]
    missing = ", ".join(part.name for part in found.missing)
    verdict = f"Missing, and required: {missing}" if missing else "All that bfpc requires is there."
    return Group(text_table("", ("part", "found", "for", "to get it"), rows), "", verdict)


def started(found: Started) -> RenderableType:
    """What was written, what the host computes, and what was assumed."""
    layers = several(found.layers, "layer")
    lines = [f"{found.file}: {found.network}, {layers} on the accelerator; {found.schema} for editors"]
    lines += [f"On the host: {line}" for line in found.host]
    lines += [f"Assumed, to be checked: {', '.join(found.assumed)}"] if found.assumed else []
    return Group(*lines)
