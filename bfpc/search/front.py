"""The front of accuracy against cost: as plain values, and drawn."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from bfpc.errors import BuildError
from bfpc.search.choice import Problem, cheapest

POINTS = 16  # of the predicted front
WIDTH, HEIGHT = 7.0, 4.5  # inches


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
    """The front as an SVG. Raises BuildError without Matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        fix = "install it: pip install 'bfpc[plots]'"
        raise BuildError(
            "drawing the front needs Matplotlib, which is not installed", where="import matplotlib", fix=fix
        ) from None
    by_sqnr = front.accuracy == "sqnr_db"
    with rc_context({"svg.hashsalt": "bfpc", "svg.fonttype": "none"}):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        if by_sqnr:
            axes.plot(*_line(front.predicted), color="0.6", label="predicted front")
        axes.plot(*_line(front.checked), "o", color="tab:blue", label="checked choices")
        axes.plot(*_line(front.uniform), "s", color="tab:orange", label="one width for all")
        for point in front.uniform:
            axes.annotate(point.name, (point.cost, _height(point)), (4, -10), textcoords="offset points", fontsize=8)
        axes.plot(*_line((front.chosen,)), "*", color="tab:red", markersize=14, label="chosen")
        axes.set_xlabel(front.cost.replace("_", " "))
        axes.set_ylabel("SQNR at the outputs [dB]" if by_sqnr else front.accuracy)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _line(points: tuple[Point, ...]) -> tuple[list[float], list[float]]:
    return [point.cost for point in points], [_height(point) for point in points]


def _height(point: Point) -> float:
    return point.sqnr_db if point.accuracy is None else point.accuracy
