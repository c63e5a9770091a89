"""The charts of a report, by name, as Vega-Lite specifications. They fill the width that the page gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import altair as alt

from bfpc.backend.bit_packing import WORD_BYTES
from bfpc.plotting import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PURPLE, RED, styled
from bfpc.report.contents import PROCESSES, Contents
from bfpc.report.diff import BuildDiff
from bfpc.report.octaves import Octaves

if TYPE_CHECKING:
    from bfpc.plotting import Chart

SIZES = {"numbers but zero": BLUE, "blocks, by what fits them": RED, "exponent window": GREEN}
ROW, LANE = 20, 14  # pixels that a box of the network takes, and a way around boxes
WORK, OTHERS = "the array works", "other waits"
CAUSES = 5  # of stalls that are told apart
PLACES = {"on chip": GREEN, "in DRAM": BLUE}
KINDS = {"input": GREY, "accelerator": BLUE, "joined maps": PURPLE, "host": ORANGE, "output": GREY}
OPERATORS = {"Conv": BLUE, "Depthwise": GREEN, "Pass": ORANGE}
TITLES = {"sqnr_db": "SQNR [dB]", "cycles": "cycles"}
LETTERS = 44  # of a name in a chart; its end is kept
ZOOM = "wheel![event.shiftKey]"  # the wheel alone scrolls the page


def network_chart(contents: Contents) -> Chart:
    """Boxes from top to bottom; a click on a layer leads to its figures."""
    view = contents.view
    boxes = [
        {
            "place": index,
            "name": box.name,
            "label": _shortened(box.name),
            "kind": box.kind,
            "detail": box.detail,
            "fused": contents.tails.get(box.layer, ""),
            "href": f"#{contents.anchors[box.layer]}" if box.layer else "#network",
        }
        for index, box in enumerate(view.boxes)
    ]
    bends = [
        {"way": number, "step": step, "x": x, "place": place}
        for number, way in enumerate(view.ways)
        for step, (x, place) in enumerate(
            ((0, way.start), (-way.lane, way.start + 0.35), (-way.lane, way.end - 0.35), (0, way.end))
        )
    ]
    lanes = max((way.lane for way in view.ways), default=0)
    left = LANE * (lanes + 1)
    x = alt.X("x:Q", axis=None).scale(domain=[-lanes - 1, 0], range=[0, left], nice=False, zero=False)
    y = alt.Y("place:Q", axis=None).scale(domain=[len(boxes) - 0.5, -0.5], nice=False)
    kinds = [kind for kind in KINDS if any(box.kind == kind for box in view.boxes)]
    color = alt.Color("kind:N", title=None).scale(domain=kinds, range=[KINDS[kind] for kind in kinds])
    ways = (
        alt.Chart(alt.Data(values=bends))
        .mark_line(color=GREY, strokeWidth=1.5)
        .encode(x, y, detail="way:N", order="step:O")
    )
    base = alt.Chart(alt.Data(values=boxes)).encode(
        alt.XValue(left),
        y,
        href="href:N",
        tooltip=[alt.Tooltip(f"{key}:N") for key in ("name", "kind", "detail", "fused")],
    )
    marks = base.mark_square(size=130, opacity=1).encode(color)
    return (ways + marks + base.mark_text(align="left", dx=12, fontSize=10).encode(text="label:N")).properties(
        height=ROW * len(boxes)
    )


def sqnr_chart(contents: Contents) -> Chart:
    """The SQNR of every layer that was compared, the worst marked."""
    worst = {finding.layer for finding in contents.worst}
    rows = [
        {
            "index": index,
            "layer": name,
            "SQNR": sqnr,
            "kind": "adds most noise" if name in worst else "others",
            "href": f"#{contents.anchors[name]}",
        }
        for index, (name, sqnr) in enumerate(contents.sqnr_db.items())
    ]
    color = alt.Color("kind:N", title=None).scale(domain=["adds most noise", "others"], range=[RED, BLUE])
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            alt.X("index:O", title="layers, in their order", axis=alt.Axis(labels=False, ticks=False)),
            alt.Y("SQNR:Q", title="SQNR [dB]"),
            color,
            href="href:N",
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("SQNR:Q", format=".1f")],
        )
        .properties(height=220)
    )


def gantt_chart(contents: Contents) -> Chart:
    """When each process is at work."""
    per_cycle = contents.schedule["milliseconds"] / contents.schedule["cycles"]
    rows = [
        {"process": process, "layer": layer, "start": start * per_cycle, "end": end * per_cycle}
        for process, layer, start, end in contents.timeline["intervals"]
    ]
    milliseconds = [alt.Tooltip(f"{key}:Q", title=f"{key} [ms]", format=".4f") for key in ("start", "end")]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(stroke=INK, strokeWidth=0.2, clip=True)
        .encode(
            alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, contents.schedule["milliseconds"]]),
            alt.X2("end:Q"),
            alt.Y("process:N", title=None, sort=list(PROCESSES)),
            alt.Color("process:N", legend=None).scale(
                domain=list(PROCESSES), range=[_process_color(each) for each in PROCESSES]
            ),
            tooltip=[alt.Tooltip("process:N"), alt.Tooltip("layer:N"), *milliseconds],
        )
        .add_params(alt.selection_interval(bind="scales", encodings=["x"], zoom=ZOOM))
        .properties(height=260)
    )


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
            "intensity": layer["products"] / layer["dram_bytes"],
            "reached": layer["products"] / layer["cycles"] * clock / 1e9,
        }
        for layer in contents.layers
        if layer["products"] and layer["dram_bytes"]
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


def occupancy_chart(contents: Contents) -> Chart:
    """Bytes of the feature memory that are in use while each layer runs."""
    rows = []
    for index, (start, layer) in enumerate(zip(_starts(contents), contents.layers, strict=True)):
        live = [each for each in contents.schedule["maps"] if each["life"][0] <= index <= each["life"][1]]
        for place in PLACES:
            words = sum(each["words"] for each in live if contents.place(each) == place)
            rows.append({"start": start, "layer": layer["name"], "place": place, "KiB": words * WORD_BYTES / 1024})
    end = contents.schedule["milliseconds"]
    rows += [{**row, "start": end} for row in rows[-2:]]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_area(interpolate="step-after", opacity=0.85)
        .encode(
            alt.X("start:Q", title="milliseconds of one image"),
            alt.Y("KiB:Q", title="KiB in use"),
            alt.Color("place:N", title=None).scale(domain=list(PLACES), range=list(PLACES.values())),
            tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("place:N"), alt.Tooltip("KiB:Q", format=",.1f")],
        )
        .properties(height=200)
    )


def memory_chart(contents: Contents, place: str) -> Chart:
    """Where each map lies in a part of the feature memory, and for how long."""
    starts = [*_starts(contents), contents.schedule["milliseconds"]]
    rows = [
        {
            "map": each["name"],
            "start": starts[max(each["life"][0], 0)],
            "end": starts[min(each["life"][1] + 1, len(starts) - 1)],
            "low": each["address"] * WORD_BYTES / 1024,
            "high": (each["address"] + each["words"]) * WORD_BYTES / 1024,
        }
        for each in contents.schedule["maps"]
        if contents.place(each) == place
    ]
    figures = [alt.Tooltip(f"{key}:Q", title=f"{key} [KiB]", format=",.1f") for key in ("low", "high")]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(stroke=INK, strokeWidth=0.6, opacity=0.8, color=PLACES[place])
        .encode(
            alt.X("start:Q", title="milliseconds of one image").scale(domain=[0, starts[-1]]),
            alt.X2("end:Q"),
            alt.Y("low:Q", title="address [KiB]").scale(zero=False),
            alt.Y2("high:Q"),
            tooltip=[alt.Tooltip("map:N"), *figures],
        )
        .properties(height=220)
    )


def octave_chart() -> Chart:
    """Numbers by their size, for the page to fill in: `numbers`, shared exponents as `blocks`, and their `window`."""
    color = alt.Color("kind:N", title=None).scale(domain=list(SIZES), range=list(SIZES.values()))
    share = alt.Y("share:Q", title="share").axis(format="%")
    low = alt.X("low:Q", title="size, as a power of two").scale(zero=False)
    figures = [alt.Tooltip("kind:N"), alt.Tooltip("low:Q", title="from 2^"), alt.Tooltip("share:Q", format=".2%")]
    bars = alt.Chart(alt.NamedData("numbers")).mark_bar().encode(low, alt.X2("high:Q"), share, color, tooltip=figures)
    blocks = (
        alt.Chart(alt.NamedData("blocks")).mark_point(filled=True, size=40).encode(low, share, color, tooltip=figures)
    )
    window = alt.Chart(alt.NamedData("window")).mark_rect(opacity=0.15).encode(low, alt.X2("high:Q"), color)
    return (window + bars + blocks).properties(height=140)


def octave_data(octaves: Octaves) -> dict[str, list[dict[str, Any]]]:
    """What `octave_chart` shows of a tensor. A block's point stands where its largest number may end."""
    format, total = octaves.format, int(octaves.counts.sum())
    numbers, blocks, window = SIZES
    first = format.exponent + format.magnitude_bits
    return {
        "numbers": [
            {"kind": numbers, "low": low, "high": low + 1, "share": count / total}
            for low, count in enumerate(octaves.counts[1:].tolist(), format.exponent)
            if count
        ],
        "blocks": [
            {"kind": blocks, "low": top, "share": count / int(octaves.blocks.sum())}
            for top, count in enumerate(octaves.blocks.tolist(), first)
        ],
        "window": [{"kind": window, "low": first, "high": octaves.top}],
    }


CHARTS: dict[str, Callable[[Contents], Chart]] = {
    "network": network_chart,
    "sqnr": sqnr_chart,
    "gantt": gantt_chart,
    "stalls": stall_chart,
    "roofline": roofline_chart,
    "occupancy": occupancy_chart,
    "on_chip": partial(memory_chart, place="on chip"),
    "dram": partial(memory_chart, place="in DRAM"),
}


def draw_charts(contents: Contents) -> dict[str, dict[str, Any]]:
    """Every chart by name."""
    return {name: full_width(draw(contents)) for name, draw in CHARTS.items()}


def full_width(chart: Chart) -> dict[str, Any]:
    """As wide as the page lets it be."""
    return {**styled(chart), "width": "container"}


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


def _starts(contents: Contents) -> list[float]:
    """When each layer begins, in milliseconds."""
    per_cycle = contents.schedule["milliseconds"] / contents.schedule["cycles"]
    return [per_cycle * cycles for cycles in accumulate((layer["cycles"] for layer in contents.layers[:-1]), initial=0)]


def _process_color(process: str) -> str:
    if process == "array":
        return RED
    return (
        ORANGE if "weight" in process else GREEN if "residual" in process else BLUE if "feature" in process else PURPLE
    )


def _shortened(name: str) -> str:
    return name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"
