"""Two builds side by side."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from bfpc.tables.parts import several, table, text_table

if TYPE_CHECKING:
    from bfpc.report.diff import BuildDiff

COLUMNS = ("first", "second", "second / first")


def difference(found: BuildDiff) -> RenderableType:
    """The figures of both builds, then the layers and the keys of the config that differ."""
    first, second = found.folders
    config = [(each.name, *each.texts[:2]) for each in found.config]
    return Group(
        f"first:  {first}\nsecond: {second}\n",
        table("Figures", ("figure",), COLUMNS, ((each.name, *each.texts) for each in found.figures)),
        "",
        *((text_table("Layers that differ", ("layer", "first -> second"), _layers(found)), "") if found.layers else ()),
        *((table("Config", ("key",), COLUMNS[:2], config), "") if config else ()),
        f"{several(found.equal_layers, 'layer')} the same in both",
    )


def _layers(found: BuildDiff) -> list[tuple[str, str]]:
    """What differs of each layer, on a line."""
    rows = []
    for layer, figures in groupby(found.layers, lambda each: each.where):
        changes = (
            f"{each.name.replace('_', ' ')} {each.texts[0] or 'none'} -> {each.texts[1] or 'none'}" for each in figures
        )
        rows.append((layer, ", ".join(changes)))
    return rows
