"""The front of accuracy against cost: as plain values, and drawn."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from bfpc.plotting import BLUE, GREY, ORANGE, RED, check_plots, picture
from bfpc.search.choice import Problem, cheapest

POINTS = 16  # of the predicted front
COLORS = {"predicted front": GREY, "checked choices": BLUE, "one width for all": ORANGE, "chosen": RED}


@dataclass(frozen=True)
class Point:
    """A choice of formats. accuracy: as the budget names it; of a prediction None, or the SQNR in sqnr_db."""

    cost: float
    accuracy: float | None
    sqnr_db: float
    name: str = ""


@dataclass(frozen=True)
class Front:
    """accuracy, cost: what the budget names. predicted: from sensitivities alone; checked, uniform: as measured, of
    choices on the way and of one width for everything; chosen: the point that was taken.
    """

    accuracy: str
    cost: str
    predicted: tuple[Point, ...]
    checked: tuple[Point, ...]
    uniform: tuple[Point, ...]
    chosen: Point

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def predicted_front(problem: Problem) -> tuple[Point, ...]:
    """The cheapest choices of noise budgets between the least and the greatest there is."""
    least, most = (max(sum(float(end(each)) for each in problem.noises), 1e-30) for end in (np.min, np.max))
    points = {}
    for budget in np.geomspace(least * 1.01, max(min(most, 1.0), least * 1.02), POINTS):
        choice = cheapest(problem, float(budget))
        if choice is not None and problem.noise(choice) > 0:
            points[choice] = Point(problem.cost(choice), None, -10 * math.log10(problem.noise(choice)))
    return tuple(points.values())


def draw_front(front: Front) -> bytes:
    """The front as an SVG file. Raises BuildError without the libraries that draw."""
    check_plots("drawing the front")
    import altair as alt

    by_sqnr = front.accuracy == "sqnr_db"
    kinds = {
        **({"predicted front": front.predicted} if by_sqnr else {}),
        "checked choices": front.checked,
        "one width for all": front.uniform,
        "chosen": (front.chosen,),
    }
    rows = [
        {"kind": kind, "cost": point.cost, "accuracy": _height(point), "name": point.name}
        for kind, points in kinds.items()
        for point in points
    ]
    kind = alt.Color("kind:N", title=None).scale(domain=list(kinds), range=[COLORS[kind] for kind in kinds])
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("cost:Q").title(front.cost.replace("_", " ")).scale(zero=False),
        alt.Y("accuracy:Q").title("SQNR at the outputs [dB]" if by_sqnr else front.accuracy).scale(zero=False),
    )
    lines = chart.mark_line().transform_filter("datum.kind == 'predicted front'").encode(kind)
    points = chart.mark_point(filled=True, size=70).transform_filter("datum.kind != 'predicted front'").encode(kind)
    names = chart.mark_text(align="left", dx=6, dy=10).transform_filter("datum.kind == 'one width for all'")
    return picture(lines + points + names.encode(text="name:N"))


def _height(point: Point) -> float:
    return point.sqnr_db if point.accuracy is None else point.accuracy
