"""report.html and verification.json, as compile and verify leave them; a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair
import pytest

from bfpc import plotting
from bfpc.errors import BuildError
from bfpc.report.charts import CHARTS
from bfpc.report.contents import gather
from bfpc.report.diff import diff_builds
from bfpc.report.network_charts import octave_chart
from bfpc.report.page import render_report
from tests.report.builds import compile_small, run

SECTIONS = ["accuracy", "network", "layers", "schedule", "memory", "resources", "tour", "config"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_small(tmp_path_factory.mktemp("report"), "int54")


class Page(HTMLParser):
    """What a page refers to, the fragments that it has, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.fragments: list[str] = []
        self.opened: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action") and value:
                self.references.append(value)
            if name == "id" and value:
                self.fragments.append(value)


def page_of(build: Path) -> Page:
    return Page((build / "report.html").read_text())


def test_a_report_refers_to_itself_and_to_files_of_the_build_alone(build: Path) -> None:
    page = page_of(build)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.fragments
        elif not reference.startswith("data:"):
            assert (build / reference).is_file(), reference


def test_every_section_and_every_layer_is_there(build: Path) -> None:
    page, layers = page_of(build), json.loads((build / "schedule.json").read_text())["layers"]
    assert [fragment for fragment in page.fragments if fragment in SECTIONS] == SECTIONS
    assert page.opened.count("details") == len(layers)


def test_verify_writes_the_report_anew_with_its_own_images(build: Path) -> None:
    assert "on 2 synthetic images" in (build / "report.html").read_text()
    assert run("verify", build, "--count", "3").exit_code == 0
    text = (build / "report.html").read_text()
    assert "on 3 images" in text
    found = json.loads((build / "verification.json").read_text())
    assert found["images"] == 3
    assert f"{found['outputs'][0]['sqnr_db']:.1f} dB SQNR" in text


def test_a_build_with_a_report_is_whole(build: Path) -> None:
    assert run("inspect", build).exit_code == 0
    assert run("compile", build / "model.onnx", "-c", "int54", "-o", build).exit_code == 0


def test_charts_are_good_vega_lite(build: Path) -> None:
    contents = gather(build, None, {}, "")
    for draw in CHARTS.values():
        altair.Chart.from_dict({**draw(contents).to_dict(validate=True)}, validate=True)
    octave_chart().to_dict(validate=True)


def test_the_network_says_what_was_fused_into_each_layer(build: Path) -> None:
    contents = gather(build, None, {}, "")
    boxes = CHARTS["network"](contents).to_dict(validate=False)["layer"][1]["data"]["values"]
    inside = {box["name"]: box["inside"] for box in boxes if box["kind"] == "accelerator"}
    for node in contents.build.graph.layers:
        assert inside[node.name].startswith(type(node.op).__name__)
        assert ("bias" in node.inputs) == ("bias" in inside[node.name])
        assert ("residual" in node.inputs) == (node.layer.tail.residual in inside[node.name])


def test_a_layer_that_runs_behind_another_has_no_cycles_of_its_own(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    contents = gather(build, None, {}, "")
    [(first, behind)] = [run for run in contents.runs if len(run) > 1]
    assert (first["operator"], behind["operator"], behind["cycles"]) == ("Conv", "Depthwise", 0)
    page, figures = (build / "report.html").read_text(), run("inspect", build).stdout
    assert page.count(f"runs with {first['name']}<") == 1
    assert figures.count(f"runs with {first['name']}") == 1
    reached = CHARTS["roofline"](contents).to_dict(validate=False)["layer"][1]["data"]["values"]
    assert first["name"] in {row["layer"] for row in reached}
    assert behind["name"] not in {row["layer"] for row in reached}


def test_without_the_library_that_draws_the_page_says_what_is_missing(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(what: str) -> None:
        raise BuildError(f"{what} needs Altair", where="", fix="pip install 'bfpc[plots]'")

    monkeypatch.setattr("bfpc.report.page.check_plots", missing)
    page = render_report(gather(build, None, {}, ""))
    assert "pip install &#39;bfpc[plots]&#39;" in page
    assert "<script" not in page
    assert "images/s" in page


def test_names_from_a_model_are_text_not_markup(tmp_path: Path) -> None:
    build = compile_small(tmp_path, "int8", name="<b id=mine>")
    assert "mine" not in page_of(build).fragments
    assert "<h1>&lt;b id=mine&gt;</h1>" in (build / "report.html").read_text()


def test_figures_of_the_first_screen_are_the_schedules(build: Path) -> None:
    schedule = json.loads((build / "schedule.json").read_text())
    first_screen = re.sub(r"<[^>]+>", " ", (build / "report.html").read_text().split('id="accuracy"')[0])
    assert f"{1e3 / schedule['milliseconds']:.1f} images/s" in first_screen
    assert f"{100 * schedule['utilization']:.1f} %" in first_screen


def test_two_builds_side_by_side(build: Path, tmp_path: Path) -> None:
    other = compile_small(tmp_path, "int8")
    found = diff_builds(build, other)
    assert {each.name for each in found.figures} >= {"cycles", "dram_bytes", "images_per_second", "bits_per_weight"}
    assert any(each.name == "weight_format" for each in found.layers)
    assert {each.name for each in found.config} >= {"formats.weight.mantissa_bits"}
    shown = run("diff", build, other, "-o", tmp_path / "diff.html").stdout
    assert "bits_per_weight" in shown
    assert "weight format" in shown
    printed: dict[str, Any] = json.loads(run("diff", build, other, "--json").stdout)
    assert printed["equal_layers"] == found.equal_layers
    assert "formats.weight.mantissa_bits" in (tmp_path / "diff.html").read_text()


def test_a_build_beside_itself_does_not_differ(build: Path) -> None:
    found = diff_builds(build, build)
    assert (found.layers, found.config) == ((), ())
    assert all(each.first == each.second for each in found.figures)


def test_the_library_for_browsers_is_bundled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = plotting.javascript()
    [kept] = tmp_path.rglob("*.js")
    assert kept.read_text() == first
    kept.write_text("// kept")
    assert plotting.javascript() == "// kept"
