"""Reports in a real browser, at 360 and 1440 pixels, in light and dark: nothing amiss, all of it visible."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.report.builds import compile_small, run

FOLDER = Path(__file__).parent
FAULTY = """<!DOCTYPE html><html><head><title>faulty</title></head><body><h1>Faulty</h1>
<p style="width: 2000px; background: #eee; color: #ddd">too wide, too pale</p><img src="https://example.invalid/a.png">
<svg width="40" height="20"><text x="0" y="15">a text that is cut</text></svg>
<script>console.error("a fault")</script></body></html>"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the browser found of each page, by its name: one result for each width and scheme."""
    folder = tmp_path_factory.mktemp("pages")
    for preset in ("int54", "int8"):
        (folder / preset).mkdir()
        compile_small(folder / preset, preset)
    pages = {"report": folder / "int54" / "build" / "report.html", "diff": folder / "diff.html"}
    pages["faulty"] = folder / "faulty.html"
    pages["faulty"].write_text(FAULTY)
    assert run("diff", folder / "int54" / "build", folder / "int8" / "build", "-o", pages["diff"]).exit_code == 0
    command = ["node", str(FOLDER / "check.mjs"), *map(str, pages.values())]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{finished.stderr}\nnpm ci --prefix tests/browser installs what this needs"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in pages}
    for result in json.loads(finished.stdout):
        found[next(name for name, path in pages.items() if str(path) == result["page"])].append(result)
    return found


@pytest.mark.parametrize("page", ["report", "diff"])
def test_a_page_is_whole_on_every_screen(results: dict[str, list[dict[str, Any]]], page: str) -> None:
    assert {(each["width"], each["scheme"]) for each in results[page]} == {
        (width, scheme) for width in (360, 1440) for scheme in ("light", "dark")
    }
    for each in results[page]:
        screen = f"{each['width']} pixels, {each['scheme']}"
        assert each["messages"] == [], screen
        assert each["requests"] == [], screen
        assert each["hidden"] == [], screen
        assert each["faults"] == [], screen
        assert each["charts"] > 0, screen


def test_the_browser_finds_faults_where_there_are_any(results: dict[str, list[dict[str, Any]]]) -> None:
    for each in results["faulty"]:
        assert any("a fault" in message for message in each["messages"])
        assert each["requests"] == ["https://example.invalid/a.png"]
        assert {fault.partition(":")[0] for fault in each["faults"]} >= {"color-contrast", "image-alt"}
        assert any("too wide" in element for element in each["hidden"])
        assert any("a text that is cut" in element for element in each["hidden"])
