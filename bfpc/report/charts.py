"""The charts of a report, by name, as Vega-Lite specifications. They fill the width that the page gives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bfpc.plotting import styled
from bfpc.report.contents import Contents
from bfpc.report.memory_charts import buffer_chart, memory_chart, occupancy_chart
from bfpc.report.network_charts import network_chart, sqnr_chart
from bfpc.report.schedule_charts import gantt_chart, roofline_chart, stall_chart

if TYPE_CHECKING:
    from bfpc.plotting import Chart

CHARTS: dict[str, Callable[[Contents], Chart]] = {
    "network": network_chart,
    "sqnr": sqnr_chart,
    "gantt": gantt_chart,
    "stalls": stall_chart,
    "roofline": roofline_chart,
    "occupancy": occupancy_chart,
    "buffers": buffer_chart,
    "on_chip": partial(memory_chart, place="on chip"),
    "dram": partial(memory_chart, place="in DRAM"),
}


def draw_charts(contents: Contents) -> dict[str, dict[str, Any]]:
    """Every chart by name."""
    return {name: full_width(draw(contents)) for name, draw in CHARTS.items()}


def full_width(chart: Chart) -> dict[str, Any]:
    """As wide as the page lets it be."""
    return {**styled(chart), "width": "container"}
