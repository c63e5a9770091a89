"""The documentation is current: generated pages follow the source, and every key and pass is described."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from bfpc.backend.architecture import size_architecture
from bfpc.backend.build_folder import write_build
from bfpc.backend.design import make_design
from bfpc.comparison import Comparison, Score, ScorePair, Verification
from bfpc.config import Config
from bfpc.config_sections import Passes
from bfpc.data import InputData
from bfpc.frontend.reader import Network
from bfpc.passes.calibrate import calibrate
from bfpc.pipeline import Prepared, float_passes, prepare, quantizing_passes
from bfpc.progress import silent
from docs.generate import DOCS, pages
from tests.backend.graphs import small_network

GENERATED = pages()


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_follow_the_source(name: str) -> None:
    assert (DOCS / name).read_text() == GENERATED[name], "run make docs"


def described_keys() -> set[str]:
    """What stands in the first columns of the tables of schedule.md."""
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "schedule.md").read_text(), re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


def keys_of(document: dict[str, Any], lists: tuple[str, ...]) -> Iterator[str]:
    """The keys of a document, and of the objects in the named lists."""
    yield from document
    for name in lists:
        yield from document[name][0]


def test_every_key_for_scripts_is_described(tmp_path: Path) -> None:
    graph, config = small_network(), Config()
    design = make_design(graph, size_architecture(graph, config.architecture, config.array_size), config, b"model")
    write_build(design, tmp_path / "build")
    schedule, manifest = (
        json.loads((tmp_path / "build" / f"{name}.json").read_text()) for name in ("schedule", "manifest")
    )
    row = Comparison("output", 20.0, 0.99, 0.1)
    score = Score("top1", 0.9, 0.8, 1.0, 20)
    verification = json.loads(Verification((row,), (row,), scores=(ScorePair(score, score),)).to_json())
    used = {
        *keys_of(schedule, ("layers",)),
        *keys_of(manifest, ("inputs", "outputs")),
        *keys_of(verification, ("outputs", "layers", "scores")),
        *verification["scores"][0]["build"],
    }
    assert used <= described_keys()


def test_every_pass_is_described() -> None:
    page = (DOCS / "architecture.md").read_text()
    graph = small_network()
    prepared = Prepared(Network(graph, onnx.ModelProto(), (), ()), graph, InputData({}), calibrate(graph, [], prepare))
    config = Config.model_validate({"passes": dict.fromkeys(Passes.model_fields, True)})
    passes = [*float_passes(config), *quantizing_passes(config, prepared, silent)]
    assert not [name for name in passes if f"`{name}`" not in page]


def test_links_lead_somewhere() -> None:
    for page in (DOCS.parent / "README.md", *DOCS.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
