"""Writes two builds side by side as a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bfpc.backend.templates import template_environment
from bfpc.errors import BuildError
from bfpc.output_file import check_writable, write_file
from bfpc.plotting import check_plots, javascript
from bfpc.report.diff import BuildDiff

SHOWN = ("sqnr_db", "cycles")  # in charts


def write_diff(found: BuildDiff, path: Path) -> None:
    """Raises BuildError where the file cannot be written."""
    check_writable(path, builds=found.folders)
    write_file(path, render_diff(found).encode())


def render_diff(found: BuildDiff) -> str:
    """The page; without the extra `plots` it has no charts."""
    try:
        check_plots("drawing charts")
    except BuildError:
        return _render(found, {}, "")
    from bfpc.report.charts import full_width
    from bfpc.report.difference_charts import difference_chart

    numbers = {each.name for each in found.layers if each.ratio is not None}
    charts = {name: full_width(difference_chart(found, name)) for name in SHOWN if name in numbers}
    return _render(found, charts, javascript())


def _render(found: BuildDiff, charts: dict[str, Any], library: str) -> str:
    template = template_environment("report", markup=True).get_template("diff.html.j2")
    return template.render(diff=found, charts=charts, library=library)
