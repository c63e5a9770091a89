"""The front of images per second against the device's share: as plain values, as a config, and drawn."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from bfpc.backend.architecture import Architecture
from bfpc.config_file import preset_names
from bfpc.explore.explore import Exploration, Point
from bfpc.plotting import BLUE, GREY, RED, check_plots, picture

SECTION = (
    "c_vec",
    "k_vec",
    "feature_depth",
    "accumulator_positions",
    "on_chip_kilobytes",
    "weight_kilobytes",
    "multipliers",
    "clock_mhz",
    "dram_gigabytes_per_second",
)
SHARED_SECTION = (
    "block",
    "activation_bits",
    "weight_bits",
    "accumulator_bits",
    "depthwise_window",
)  # what one network alone would size


def architecture_section(architecture: Architecture, *, shared: bool) -> dict[str, Any]:
    """The keys of the config's `architecture:`; shared: by networks that would each choose other widths."""
    keys = (*SECTION, *(SHARED_SECTION if shared else ()))
    return {key: getattr(architecture, key) for key in keys}


def architecture_yaml(found: Exploration, config: str, folder: Path) -> str:
    """The chosen accelerator as a config that extends the one given, seen from the folder it is for."""
    point = found.chosen
    networks = ", ".join(model.stem for model in found.models)
    reached = f"{point.rate} images a second each of {networks}, by the cost model"
    source = config if config.removesuffix(".yaml") in preset_names() else _relative(Path(config), folder)
    section = {"device": found.device.name} | architecture_section(point.architecture, shared=len(found.models) > 1)
    document = {"extends": source, "architecture": section}
    return f"# Chosen by bfpc explore for {found.device.name}: {reached}.\n" + yaml.safe_dump(document, sort_keys=False)


def _relative(config: Path, folder: Path) -> str:
    return os.path.relpath(config, folder)


def exploration_json(found: Exploration) -> str:
    """The front as a file: what `exploration_document` says."""
    return json.dumps(exploration_document(found), indent=2, allow_nan=False) + "\n"


def exploration_document(found: Exploration) -> dict[str, Any]:
    """The front, every point with its areas by module."""
    return {
        "device": found.device.name,
        "networks": [str(model) for model in found.models],
        "fps": found.fps,
        "candidates": found.tried,
        "fitting": len(found.points),
        "front": [_document(point) for point in found.front],
        "chosen": _document(found.chosen),
    }


def _document(point: Point) -> dict[str, Any]:
    return {
        "architecture": asdict(point.architecture),
        "images_per_second": point.images_per_second,
        "cycles": point.cycles,
        "shares": point.area.shares,
        "modules": [asdict(module) for module in point.area.modules],
    }


def draw_front(found: Exploration) -> bytes:
    """The front as an SVG file. Raises BuildError without the libraries that draw."""
    check_plots("drawing the front")
    import altair as alt

    kinds = {"accelerators that fit": found.points, "front": found.front, "chosen": [found.chosen]}
    rows = [{"kind": kind, **_place(point)} for kind, points in kinds.items() for point in points]
    kind = alt.Color("kind:N", title=None).scale(domain=list(kinds), range=[GREY, BLUE, RED])
    chart = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("share:Q").title(f"of what {found.device.name} can fill of its scarcest resource [%]"),
        alt.Y("images_per_second:Q").title("images per second"),
    )
    front = chart.transform_filter("datum.kind == 'front'")
    drawing = (
        front.mark_line(interpolate="step-after").encode(kind)
        + chart.mark_point(filled=True, size=60).encode(kind)
        + front.mark_text(align="left", dx=6, dy=10).encode(text="name:N")
    )
    if found.fps is not None:
        wanted = alt.Chart(alt.Data(values=[{"fps": found.fps}])).mark_rule(strokeDash=[4, 4])
        drawing += wanted.encode(alt.Y("fps:Q"))
    return picture(drawing)


def _place(point: Point) -> dict[str, float | str]:
    size = f"{point.architecture.c_vec} x {point.architecture.k_vec}"
    return {"share": 100 * point.area.fullest, "images_per_second": point.images_per_second, "name": size}
