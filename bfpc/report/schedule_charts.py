"""Charts of the schedule: when what is at work, what the array waits for, and what bounds it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import altair as alt

from bfpc.plotting import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PURPLE, RED
from bfpc.report.contents import PROCESSES, Contents

if TYPE_CHECKING:
    from bfpc.plotting import Chart

WAITS, WORK, OTHERS = "array waits", "the array works", "other waits"
CAUSES = 5  # of stalls that are told apart
OPERATORS = {"Conv": BLUE, "Depthwise": GREEN, "Pass": ORANGE}
ZOOM = "wheel![event.shiftKey]"  # the wheel alone scrolls the page


def gantt_chart(contents: Contents) -> Chart:
    """When each process is at work; a row above them shades the layers by how much the array waits."""
    end = contents.schedule["milliseconds"]
    per_cycle = end / contents.schedule["cycles"]
    intervals = [
        {"process": process, "layer": layer, "start": start * per_cycle, "end": finish * per_cycle}
        for process, layer, start, finish in contents.timeline["intervals"]
    ]
    starts = [*contents.starts, end]
    waits = [
        {
            "process": WAITS,
            "layer": layer["name"],
            "start": start,
            "end": finish,
            "waits": sum(layer["stalls"].values()) / layer["cycles"],
            "most": max(layer["stalls"], key=lambda cause: layer["stalls"][cause], default="nothing"),
        }
        for layer, (start, finish) in zip(contents.layers, pairwise(starts), strict=True)
        if layer["runs_with"] is None
    ]
    x = alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, end])
    y = alt.Y("process:N", title=None, sort=[WAITS, *PROCESSES])
    colors = [_process_color(process) for process in PROCESSES]
    color = alt.Color("process:N", legend=None).scale(domain=list(PROCESSES), range=colors)
    times = [alt.Tooltip(f"{key}:Q", title=f"{key} [ms]", format=".4f") for key in ("start", "end")]
    layer = alt.Tooltip("layer:N")
    figures = [layer, alt.Tooltip("waits:Q", format=".1%"), alt.Tooltip("most:N", title="most for"), *times]
    shade = alt.Opacity("waits:Q", legend=None).scale(domain=[0, 1], range=[0, 1])
    edge = alt.Stroke("process:N", legend=None).scale(domain=list(PROCESSES), range=colors)  # what is brief is seen
    bars = alt.Chart(alt.Data(values=intervals)).mark_bar(strokeWidth=0.4, clip=True)
    shades = alt.Chart(alt.Data(values=waits)).mark_bar(clip=True, color=RED)
    zoom = alt.selection_interval(bind="scales", encodings=["x"], zoom=ZOOM)
    return (
        bars.encode(x, alt.X2("end:Q"), y, color, edge, tooltip=[alt.Tooltip("process:N"), layer, *times]).add_params(
            zoom
        )
        + shades.encode(x, alt.X2("end:Q"), y, shade, tooltip=figures)
    ).properties(height=280)


def stall_chart(contents: Contents) -> Chart:
    """What the cycles of every layer go into: the array's work, and its stalls by cause."""
    causes = list(contents.schedule["stalls"])[:CAUSES]
    rows = []
    for index, layer in enumerate(contents.layers):
        stalls = Counter({WORK: layer["cycles"] - sum(layer["stalls"].values())})
        for cause, cycles in layer["stalls"].items():
            stalls[cause if cause in causes else OTHERS] += cycles
        rows += [{"index": index, "layer": layer["name"], "cause": cause, "cycles": n} for cause, n in stalls.items()]
    shown = [WORK, *causes, OTHERS]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            alt.X("index:O", title="layers, in their order", axis=alt.Axis(labels=False, ticks=False)),
            alt.Y("cycles:Q", title="cycles"),
            alt.Color("cause:N", title=None).scale(domain=shown, range=[BLUE, ORANGE, RED, PURPLE, GREEN, BROWN, GREY]),
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("cause:N"), alt.Tooltip("cycles:Q", format=",")],
        )
        .properties(height=220)
    )


def roofline_chart(contents: Contents) -> Chart:
    """What each layer reaches, against what the array and DRAM allow."""
    architecture = contents.schedule["architecture"]
    clock = architecture["clock_mhz"] * 1e6
    peak = architecture["c_vec"] * architecture["k_vec"] * clock / 1e9
    bandwidth = architecture["dram_gigabytes_per_second"]
    rows = [
        {
            "layer": layer["name"],
            "operator": layer["operator"],
            "intensity": products / layer["dram_bytes"],
            "reached": products / layer["cycles"] * clock / 1e9,
        }
        for layer, products in ((run[0], sum(layer["products"] for layer in run)) for run in contents.runs)
        if products and layer["dram_bytes"]
    ]
    ends = [min((row["intensity"] for row in rows), default=1), max((row["intensity"] for row in rows), default=1)]
    corner = peak / bandwidth
    roof = [
        {"intensity": x, "reached": min(peak, x * bandwidth)}
        for x in sorted({*ends, *([corner] if ends[0] < corner < ends[1] else [])})
    ]
    x = alt.X("intensity:Q", title="products per byte of DRAM traffic").scale(type="log")
    y = alt.Y("reached:Q", title="billion products per second").scale(type="log")
    operators = [name for name in OPERATORS if any(row["operator"] == name for row in rows)]
    color = alt.Color("operator:N", title=None).scale(domain=operators, range=[OPERATORS[name] for name in operators])
    points = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=50)
    figures = [alt.Tooltip("intensity:Q", format=",.1f"), alt.Tooltip("reached:Q", format=",.1f")]
    line = alt.Chart(alt.Data(values=roof)).mark_line(color=INK, strokeDash=[6, 4]).encode(x, y)
    layers = points.encode(x, y, color, tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("operator:N"), *figures])
    return (line + layers).properties(height=280)


def _process_color(process: str) -> str:
    if process == "array":
        return RED
    return (
        ORANGE if "weight" in process else GREEN if "residual" in process else BLUE if "feature" in process else PURPLE
    )
