"""Writes `report.html`, one file that needs no network, and beside it `verification.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bfpc.backend.templates import template_environment
from bfpc.comparison import Verification
from bfpc.errors import BuildError
from bfpc.output_file import write_file
from bfpc.plotting import check_plots, javascript
from bfpc.progress import Progress, silent
from bfpc.report.contents import Contents, gather
from bfpc.report.octaves import MapOctaves, Octaves
from bfpc.verify import verify

REPORT, VERIFICATION = "report.html", "verification.json"
IMAGES = 2  # that a compilation measures


def report_files(folder: Path, calibration: Path | None, progress: Progress = silent) -> dict[str, bytes]:
    """The report of a fresh build, and what it measured on the first calibration images, by file name."""
    maps = MapOctaves()
    try:
        found = verify(folder, calibration, count=IMAGES, watch=maps.add, progress=progress)
    except BuildError as error:
        return _files(folder, None, {}, "", (f"The accuracy was not measured: {error.what}.",))
    kind = "calibration" if calibration is not None else "synthetic"
    return _files(folder, found, maps.found, f"{found.images} {kind} images")


def report_verified(folder: Path, found: Verification, maps: MapOctaves) -> Path:
    """Writes the report of a build that was verified, with what the verification watched; returns its path.

    Raises BuildError where it cannot be written, and what `gather` does.
    """
    for name, content in _files(folder, found, maps.found, f"{found.images} images").items():
        write_file(folder / name, content)
    return folder / REPORT


def _files(
    folder: Path,
    verification: Verification | None,
    maps: Mapping[str, Octaves],
    images: str,
    remarks: tuple[str, ...] = (),
) -> dict[str, bytes]:
    page = render_report(gather(folder, verification, maps, images, remarks)).encode()
    return {REPORT: page} if verification is None else {VERIFICATION: verification.to_json().encode(), REPORT: page}


def render_report(contents: Contents) -> str:
    """The page. Without the extra `plots` it has no charts, and says so."""
    try:
        check_plots("drawing charts")
    except BuildError as error:
        return _render(contents, {}, {}, "", str(error.fix))
    from bfpc.report.charts import draw_charts, full_width
    from bfpc.report.network_charts import octave_chart, octave_data

    octaves = {
        name: {kind: octave_data(found[layer]) for kind, found in _tensors(contents).items() if layer in found}
        for layer, name in contents.anchors.items()
    }
    charts = {**draw_charts(contents), "octaves": full_width(octave_chart())}
    return _render(contents, charts, octaves, javascript(), "")


def _tensors(contents: Contents) -> dict[str, Mapping[str, Octaves]]:
    return {"weights": contents.weights, "map": contents.maps}


def _render(
    contents: Contents, charts: Mapping[str, Any], octaves: Mapping[str, Any], library: str, charts_need: str
) -> str:
    environment = template_environment("report", markup=True)
    environment.filters |= {"count": _count, "percent": _percent, "bytes": _bytes}
    return environment.get_template("report.html.j2").render(
        report=contents, charts=charts, octaves=octaves, library=library, charts_need=charts_need
    )


def _count(number: float) -> str:
    """1234567 as 1.23 M."""
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:g}"


def _bytes(number: float) -> str:
    return f"{_count(number)}B" if number >= 1000 else f"{number:g} B"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
