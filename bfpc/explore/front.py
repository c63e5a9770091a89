"""The front of images per second against the device's share: as plain values, as a config, and drawn."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from bfpc.backend.architecture import Architecture
from bfpc.config_file import preset_names
from bfpc.errors import BuildError
from bfpc.explore.explore import Exploration, Point

SECTION = (
    "c_vec",
    "k_vec",
    "feature_depth",
    "accumulator_positions",
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
WIDTH, HEIGHT = 7.0, 4.5  # inches


def architecture_section(architecture: Architecture, *, shared: bool) -> dict[str, Any]:
    """The keys of the config's `architecture:`; shared: by networks that would each choose other widths."""
    keys = (*SECTION, *(SHARED_SECTION if shared else ()))
    return {key: getattr(architecture, key) for key in keys} | {"on_chip_kilobytes": architecture.on_chip_kilobytes}


def architecture_yaml(found: Exploration, config: str, folder: Path) -> str:
    """The chosen accelerator as a config that extends the one given, seen from the folder it is for."""
    point = found.chosen
    networks = ", ".join(model.stem for model in found.models)
    reached = f"{point.images_per_second:.4g} images a second each of {networks}, by the cost model"
    source = config if config.removesuffix(".yaml") in preset_names() else _relative(Path(config), folder)
    section = architecture_section(point.architecture, shared=len(found.models) > 1)
    document = {"extends": source, "architecture": section}
    return f"# Chosen by bfpc explore for {found.device.name}: {reached}.\n" + yaml.safe_dump(document, sort_keys=False)


def _relative(config: Path, folder: Path) -> str:
    return os.path.relpath(config, folder)


def exploration_json(found: Exploration) -> str:
    """The front, every point with its areas by module."""
    document = {
        "device": found.device.name,
        "networks": [str(model) for model in found.models],
        "fps": found.fps,
        "candidates": found.tried,
        "fitting": len(found.points),
        "front": [_document(point) for point in found.front],
        "chosen": _document(found.chosen),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _document(point: Point) -> dict[str, Any]:
    return {
        "architecture": asdict(point.architecture),
        "images_per_second": point.images_per_second,
        "cycles": point.cycles,
        "shares": point.area.shares,
        "modules": [asdict(module) for module in point.area.modules],
    }


def draw_front(found: Exploration) -> bytes:
    """The front as an SVG. Raises BuildError without Matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        fix = "install it: pip install 'bfpc[plots]'"
        raise BuildError(
            "drawing the front needs Matplotlib, which is not installed", where="import matplotlib", fix=fix
        ) from None
    with rc_context({"svg.hashsalt": "bfpc", "svg.fonttype": "none"}):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.plot(*_line(found.points), ".", color="0.7", label="accelerators that fit")
        axes.step(*_line(found.front), "o-", where="post", color="tab:blue", label="front")
        axes.plot(*_line([found.chosen]), "*", color="tab:red", markersize=14, label="chosen")
        for point in found.front:
            name = f"{point.architecture.c_vec} x {point.architecture.k_vec}"
            place = 100 * point.area.fullest, point.images_per_second
            axes.annotate(name, place, (4, -10), textcoords="offset points", fontsize=8)
        if found.fps is not None:
            axes.axhline(found.fps, color="0.5", linestyle="--")
        axes.set_xlabel(f"of what {found.device.name} can fill of its scarcest resource [%]")
        axes.set_ylabel("images per second")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _line(points: Iterable[Point]) -> tuple[list[float], list[float]]:
    places = [(100 * point.area.fullest, point.images_per_second) for point in points]
    return [x for x, _ in places], [y for _, y in places]
