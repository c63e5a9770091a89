"""Charts: one look for all of them, as a picture, or for a page. They need the extra `plots`.

Lines and letters have the colour of the text around them, so that a chart reads well on light and dark.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

from bfpc.errors import BuildError
from bfpc.output_file import write_file

if TYPE_CHECKING:
    import altair

    Chart: TypeAlias = altair.Chart | altair.LayerChart

BLUE, ORANGE, RED, GREEN, PURPLE, GREY, BROWN = (
    "#2b7bba",
    "#d9730d",
    "#d1495b",
    "#2e8b57",
    "#8a63d2",
    "#8a8a8a",
    "#a47551",
)
INK = "currentColor"
WIDTH, HEIGHT = 560, 340  # pixels of a picture


def check_plots(what: str) -> None:
    """Raises BuildError where the libraries that draw `what` are not installed."""
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError:
        needs, fix = f"{what} needs Altair, which is not installed", "pip install 'bfpc[plots]'"
        raise BuildError(needs, where="import altair", fix=fix) from None


def styled(chart: Chart) -> dict[str, Any]:
    """The chart in the project's look, as a Vega-Lite specification."""
    return {
        **chart.to_dict(validate=False),  # tests do
        "background": "transparent",
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "text": {"color": INK},
            "axis": dict.fromkeys(("labelColor", "titleColor", "domainColor", "tickColor", "gridColor"), INK)
            | {"gridOpacity": 0.15},
            "legend": {"labelColor": INK, "titleColor": INK, "orient": "bottom", "labelLimit": 0, "columns": 2},
        },
    }


def javascript() -> str:
    """What shows such charts in a browser: Vega. Bundling it takes seconds, once for each version."""
    import vl_convert
    from platformdirs import user_cache_path

    kept = user_cache_path("bfpc") / f"vega-{version('vl-convert-python')}.js"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    bundle = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]
    with suppress(OSError, BuildError):  # a cache that cannot be written costs time alone
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file(kept, bundle.encode())
    return bundle


def picture(chart: Chart) -> bytes:
    """The chart as an SVG file."""
    import vl_convert

    sized = {**styled(chart), "width": WIDTH, "height": HEIGHT}
    return str(vl_convert.vegalite_to_svg(sized)).encode()
