"""Charts of the network: its layers, and how accurate they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from bfpc.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from bfpc.report.contents import Contents
from bfpc.report.octaves import Octaves

if TYPE_CHECKING:
    from bfpc.plotting import Chart

SIZES = {"numbers but zero": BLUE, "blocks, by what fits them": RED, "exponent window": GREEN}
KINDS = {"input": GREY, "accelerator": BLUE, "joined maps": PURPLE, "host": ORANGE, "output": GREY}
ROW, LANE = 30, 14  # pixels that a box of the network takes, and a way around boxes
LETTERS = 44  # of a name in a chart; its end is kept


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
            "inside": contents.fused[box.layer] if box.layer else box.detail if box.kind == "host" else "",
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
    names = base.mark_text(align="left", dx=12, dy=-1, fontSize=11).encode(text="label:N")
    insides = base.mark_text(align="left", dx=12, dy=11, fontSize=9.5, opacity=0.75).encode(text="inside:N")
    return (ways + marks + names + insides).properties(height=ROW * len(boxes))


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


def octave_chart() -> Chart:
    """Numbers by their size, for the page to fill in: `numbers`, shared exponents as `blocks`, and their `window`."""
    color = alt.Color("kind:N", title=None).scale(domain=list(SIZES), range=list(SIZES.values()))
    share = alt.Y("share:Q", title="share").axis(format="%")
    low = alt.X("low:Q", title="size, as a power of two").scale(zero=False).axis(format="d", tickMinStep=1)
    figures = [alt.Tooltip("kind:N"), alt.Tooltip("low:Q", title="from 2^"), alt.Tooltip("share:Q", format=".2%")]
    bars = (
        alt.Chart(alt.NamedData("numbers"))
        .mark_bar(orient="vertical")
        .encode(low, alt.X2("high:Q"), share, color, tooltip=figures)
    )
    blocks = (
        alt.Chart(alt.NamedData("blocks")).mark_point(filled=True, size=40).encode(low, share, color, tooltip=figures)
    )
    window = alt.Chart(alt.NamedData("window")).mark_rect(fillOpacity=0.15).encode(low, alt.X2("high:Q"), color)
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


def _shortened(name: str) -> str:
    return name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"
