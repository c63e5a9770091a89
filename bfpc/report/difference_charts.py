"""The charts of two builds side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from bfpc.plotting import BLUE, ORANGE
from bfpc.report.diff import BuildDiff

if TYPE_CHECKING:
    from bfpc.plotting import Chart

TITLES = {"sqnr_db": "SQNR [dB]", "cycles": "cycles"}


def difference_chart(found: BuildDiff, name: str) -> Chart:
    """A figure of the layers in which two builds differ by it."""
    rows = [
        {"index": index, "layer": each.where, "build": build, "value": value}
        for index, each in enumerate(each for each in found.layers if each.name == name)
        for build, value in (("first", each.first), ("second", each.second))
    ]
    color = alt.Color("build:N", title=None).scale(domain=["first", "second"], range=[BLUE, ORANGE])
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            alt.X("index:O", title="layers, in their order", axis=alt.Axis(labels=False, ticks=False)),
            alt.XOffset("build:N"),
            alt.Y("value:Q", title=TITLES[name]),
            color,
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("build:N"), alt.Tooltip("value:Q", format=",.4~g")],
        )
        .properties(height=220)
    )
