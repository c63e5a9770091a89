"""Draws the pictures of these pages with the compiler's own arithmetic: `python -m docs.pictures`, or `make docs`.

Each begins with a digest of what it shows, so that a test can tell whether it is current without drawing it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt
import numpy as np
from numpy.typing import NDArray

from bfpc.numerics.digits import split_digits
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat
from bfpc.numerics.quantize import dequantize, quantize
from bfpc.plotting import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, picture

FOLDER = Path(__file__).parent / "pictures"
MEASURED = FOLDER / "measured.json"  # python -m benchmarks.real_layer
# In an <img> a picture sees the reader's colour scheme, but not a page's own switch: it brings its background along.
STYLE = (
    "<style>:root{color:#24292f;background:#fff}"
    "@media(prefers-color-scheme:dark){:root{color:#d8dbdf;background:#17191c}}</style>"
)
BLOCK = (0.82, -0.31, 0.05, 1.10, -0.62, 0.27, 0.44, -0.09, 0.71, 0.16, -0.98, 0.36, -0.02, 0.58, -0.22, 0.12)
OUTLIER, OUTLIER_PLACE = 9.4, 6
TOP = 4  # of the exponent windows of the drawn blocks: numbers below 2**TOP do not saturate

Rows = list[dict[str, Any]]
Chart: TypeAlias = alt.Chart | alt.LayerChart


@dataclass(frozen=True)
class Picture:
    """rows: what is shown, computed; draw: how. All numbers that a reader sees are in the rows."""

    rows: Callable[[], Rows]
    draw: Callable[[Rows], Chart]


def _layers(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts))


# -- A block ----------------------------------------------------------------------------------------------------------


def _stored(numbers: tuple[float, ...], bits: int) -> tuple[NDArray[np.float32], float]:
    """One block of numbers as they are stored, and what a mantissa of 1 is worth."""
    format = BfpFormat(bits, len(numbers), exponent_range=15).with_top(TOP)
    mantissas, offsets = quantize(np.array(numbers, np.float32).reshape(1, -1, 1, 1), format)
    return dequantize(mantissas, offsets, format).ravel(), 2.0 ** (format.exponent + int(offsets.item()))


def _block_rows(numbers: tuple[float, ...], bits: int, panel: str) -> Iterator[dict[str, Any]]:
    stored, step = _stored(numbers, bits)
    for channel, (number, kept) in enumerate(zip(numbers, stored.tolist(), strict=True)):
        yield {"panel": panel, "channel": channel, "number": number, "stored": kept, "mantissa": round(kept / step)}


def block_rows() -> Rows:
    return list(_block_rows(BLOCK, 5, "int5bfp/16"))


def draw_block(rows: Rows) -> Chart:
    _, step = _stored(BLOCK, 5)
    grid = [{"level": mantissa * step} for mantissa in range(-16, 16)]
    lines = alt.Chart(alt.Data(values=grid)).mark_rule(color=INK, opacity=0.18).encode(alt.Y("level:Q"))
    x = alt.X("channel:O").title("channel of the block").axis(labelAngle=0)
    chart = alt.Chart(alt.Data(values=rows)).encode(x)
    numbers = chart.mark_tick(color=ORANGE, thickness=3, width=16).encode(
        alt.Y("number:Q").title("value").scale(domain=[-2, 2])
    )
    stored = chart.mark_point(filled=True, size=70, color=BLUE).encode(alt.Y("stored:Q"))
    mantissas = chart.mark_text(color=INK, fontSize=11).encode(y=alt.value(328), text="mantissa:Q")
    caption = alt.Chart(alt.Data(values=[{}])).mark_text(color=INK, align="left", fontSize=11, text="mantissas:")
    placed = caption.encode(x=alt.value(4), y=alt.value(312))
    return _layers(lines, numbers, stored, mantissas, placed)


def outlier_rows() -> Rows:
    spoilt = tuple(OUTLIER if channel == OUTLIER_PLACE else number for channel, number in enumerate(BLOCK))
    return [*_block_rows(BLOCK, 5, "without an outlier"), *_block_rows(spoilt, 5, "with an outlier")]


def draw_outlier(rows: Rows) -> Chart:
    rows = [row | {"error": abs(row["stored"] - row["number"])} for row in rows]
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("channel:O").title("channel of the block").axis(labelAngle=0),
        alt.Color("panel:N", title=None).scale(domain=["without an outlier", "with an outlier"], range=[BLUE, RED]),
    )
    bars = chart.mark_bar().encode(alt.Y("error:Q").title("error of the stored value"), xOffset="panel:N")
    note = alt.Chart(alt.Data(values=[{"channel": OUTLIER_PLACE, "text": f"the outlier, {OUTLIER}"}]))
    label = note.mark_text(color=INK, baseline="bottom").encode(alt.X("channel:O"), text="text:N", y=alt.value(14))
    return _layers(bars, label)


# -- How much survives ------------------------------------------------------------------------------------------------


def sqnr_rows() -> Rows:
    """Normally distributed numbers in every width and block size."""
    numbers = np.random.default_rng(16).standard_normal((4, 64, 64, 64)).astype(np.float32)
    rows: Rows = []
    for size in BLOCK_SIZES:
        for bits in range(2, 13):
            format = BfpFormat(bits, size, exponent_range=15).with_top(3)
            error = numbers - dequantize(*quantize(numbers, format), format)
            sqnr = 10 * np.log10(np.square(numbers, dtype=np.float64).sum() / np.square(error, dtype=np.float64).sum())
            rows.append({"bits": bits, "block": str(size), "sqnr_db": round(float(sqnr), 2)})
    return rows


def draw_sqnr(rows: Rows) -> Chart:
    sizes = [str(size) for size in BLOCK_SIZES]
    title, legend = "channels that share an exponent", alt.Legend(columns=len(sizes))
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("bits:O").title("mantissa bits, sign included").axis(labelAngle=0),
        alt.Y("sqnr_db:Q").title("SQNR [dB]"),
        alt.Color("block:N", title=title, legend=legend, sort=sizes).scale(
            domain=sizes, range=[GREEN, ORANGE, BLUE, PURPLE, RED]
        ),
    )
    return _layers(chart.mark_line(), chart.mark_point(filled=True, size=30))


def weights_rows() -> Rows:
    return list(json.loads(MEASURED.read_text())["weights"]["sqnr_db"])


def draw_weights(rows: Rows) -> Chart:
    shared = list(dict.fromkeys(row["shared"] for row in rows))
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("bits:O").title("bits of a weight, sign included").axis(labelAngle=0),
        alt.Y("sqnr_db:Q").title("SQNR of the weights [dB]"),
        alt.Color("shared:N", title=None).scale(domain=shared, range=[GREY, ORANGE, BLUE]),
    )
    return _layers(chart.mark_line(), chart.mark_point(filled=True, size=50))


# -- The exponent window ----------------------------------------------------------------------------------------------


def window_rows() -> Rows:
    """Blocks of a map by the power of two that their largest element lies below, and which of them a window holds."""
    found = json.loads(MEASURED.read_text())["map"]["block_tops"]
    shares = {int(top): share for top, share in found.items() if top != "zero"}
    highest = max(shares)
    return [
        {"top": top, "share": share, "held": "in a window of 7 octaves" if top >= highest - 7 else "below it"}
        for top, share in shares.items()
    ]


def draw_window(rows: Rows) -> Chart:
    colors = alt.Color("held:N", title=None).scale(domain=["in a window of 7 octaves", "below it"], range=[BLUE, RED])
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("top:O").title("power of two that a block's largest element lies below").axis(labelAngle=0),
        alt.Y("share:Q").title("share of the blocks [%], by logarithm").scale(type="log", domain=[0.005, 100]),
    )
    labels = chart.mark_text(dy=-8, color=INK).encode(text=alt.Text("share:Q", format=".2~f"))
    return _layers(chart.mark_bar().encode(colors, y2=alt.Y2Datum(0.005)), labels)


# -- Signs and digits -------------------------------------------------------------------------------------------------


def signs_rows() -> Rows:
    """The numbers that a block with a largest element just below 1 can hold, in 4 bits and in other ways."""
    formats = {
        "int4: two's complement": range(-8, 8),
        "a sign and 3 bits of magnitude": range(-7, 8),
        "uint4: never negative": range(16),
        "int5: an extra sign bit": range(-16, 16),
    }
    steps = {"uint4: never negative": 16, "int5: an extra sign bit": 16}
    return [
        {"format": name, "value": mantissa / steps.get(name, 8)}
        for name, mantissas in formats.items()
        for mantissa in mantissas
    ]


def draw_signs(rows: Rows) -> Chart:
    formats = list(dict.fromkeys(row["format"] for row in rows))
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("value:Q").title("value").scale(domain=[-1, 1]),
        alt.Y("format:N", sort=formats).title(None).axis(labelLimit=0),
        alt.Color("format:N", legend=None).scale(domain=formats, range=[BLUE, GREY, GREEN, ORANGE]),
    )
    return _layers(chart.mark_tick(thickness=2, size=36))


def digits_rows() -> Rows:
    """An activation of 8 magnitude bits times a weight of 7, on multipliers of 5 by 3: all pairs of digits."""
    activation, weight = BfpFormat(9, 16, 7), BfpFormat(8, 16, 7)
    a, w = np.array([181], np.int16), np.array([-77], np.int16)
    rows: Rows = []
    for i, first in enumerate(split_digits(a, activation, width=5).ravel().tolist()):
        for j, second in enumerate(split_digits(w, weight, width=3).ravel().tolist()):
            shift, product = 5 * i + 3 * j, first * second
            text = f"{first} x {second} = {product}, shifted by {shift}"
            shown = {
                "pass": f"pass {len(rows) + 1}",
                "first": shift,
                "end": shift + product.bit_length() + 1,
                "text": text,
            }
            rows.append({**shown, "product": product << shift})
    total = sum(row["product"] for row in rows)
    return [
        *rows,
        {"pass": "sum", "first": 0, "end": total.bit_length() + 1, "text": f"181 x -77 = {total}", "product": total},
    ]


def draw_digits(rows: Rows) -> Chart:
    passes = [row["pass"] for row in rows]
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.Y("pass:N", sort=passes).title(None),
        alt.X("end:Q").title("bits of the accumulator").scale(domain=[30, 0]).axis(values=list(range(0, 31, 2))),
    )
    bars = chart.mark_bar(height=28).encode(
        alt.Color("pass:N", legend=None).scale(domain=passes, range=[BLUE] * (len(rows) - 1) + [GREEN]), x2="first:Q"
    )
    texts = chart.mark_text(align="right", dx=-8, color=INK).encode(text="text:N")
    return _layers(bars, texts)


PICTURES = {
    "block": Picture(block_rows, draw_block),
    "outlier": Picture(outlier_rows, draw_outlier),
    "sqnr": Picture(sqnr_rows, draw_sqnr),
    "weights": Picture(weights_rows, draw_weights),
    "window": Picture(window_rows, draw_window),
    "signs": Picture(signs_rows, draw_signs),
    "digits": Picture(digits_rows, draw_digits),
}


def digest(rows: Rows) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def draw(shown: Picture) -> str:
    """The SVG, with the digest of what it shows."""
    rows = shown.rows()
    opening, end, rest = picture(shown.draw(rows)).decode().partition(">")
    return f"{opening}{end}<!-- shows {digest(rows)} -->{STYLE}{rest}\n"


def main() -> None:
    for name, shown in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
