"""Charts of the memories: what is in use over time, and where maps lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.plotting import BLUE, GREEN, INK, ORANGE, PURPLE
from bfpc.report.contents import Contents

if TYPE_CHECKING:
    from bfpc.plotting import Chart

PLACES = {"on chip": GREEN, "in DRAM": BLUE}


def occupancy_chart(contents: Contents) -> Chart:
    """Bytes of the feature memory that are in use while each layer runs."""
    rows = []
    for index, (start, layer) in enumerate(zip(contents.starts, contents.layers, strict=True)):
        live = [each for each in contents.schedule["maps"] if each["life"][0] <= index <= each["life"][1]]
        for place in PLACES:
            words = sum(each["words"] for each in live if contents.place(each) == place)
            rows.append({"start": start, "layer": layer["name"], "place": place, "kB": words * WORD_BYTES / 1e3})
    end = contents.schedule["milliseconds"]
    rows += [{**row, "start": end} for row in rows[-2:]]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_area(interpolate="step-after", opacity=0.85)
        .encode(
            alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, end]),
            alt.Y("kB:Q", title="kB in use"),
            alt.Color("place:N", title=None).scale(domain=list(PLACES), range=list(PLACES.values())),
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("place:N"), alt.Tooltip("kB:Q", format=",.1f")],
        )
        .properties(height=200)
    )


def buffer_chart(contents: Contents) -> Chart:
    """How full the feature buffer and the accumulators are while each layer runs."""
    architecture, end = contents.schedule["architecture"], contents.schedule["milliseconds"]
    depths = {"feature_vectors": "feature_depth", "accumulator_positions": "accumulator_positions"}
    rows = [
        {
            "start": start,
            "layer": layer["name"],
            "buffer": key.replace("_", " "),
            "full": layer[key] / architecture[depth],
        }
        for start, layer in zip((*contents.starts, end), (*contents.layers, contents.layers[-1]), strict=True)
        for key, depth in depths.items()
    ]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(interpolate="step-after")
        .encode(
            alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, end]),
            alt.Y("full:Q", title="share in use").axis(format="%").scale(domain=[0, 1]),
            alt.Color("buffer:N", title=None).scale(range=[ORANGE, PURPLE]),
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("buffer:N"), alt.Tooltip("full:Q", format=".0%")],
        )
        .properties(height=160)
    )


def memory_chart(contents: Contents, place: str) -> Chart:
    """Where each map lies in a part of the feature memory, and for how long."""
    starts = [*contents.starts, contents.schedule["milliseconds"]]
    rows = [
        {
            "map": each["name"],
            "start": starts[max(each["life"][0], 0)],
            "end": starts[min(each["life"][1] + 1, len(starts) - 1)],
            "low": each["address"] * WORD_BYTES / 1e3,
            "high": (each["address"] + each["words"]) * WORD_BYTES / 1e3,
        }
        for each in contents.schedule["maps"]
        if contents.place(each) == place
    ]
    figures = [alt.Tooltip(f"{key}:Q", title=f"{key} [kB]", format=",.1f") for key in ("low", "high")]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(stroke=INK, strokeWidth=0.6, opacity=0.8, color=PLACES[place])
        .encode(
            alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, starts[-1]]),
            alt.X2("end:Q"),
            alt.Y("low:Q", title="address [kB]").scale(zero=False),
            alt.Y2("high:Q"),
            tooltip=[alt.Tooltip("map:N"), *figures],
        )
        .properties(height=220)
    )
