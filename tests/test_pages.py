"""What the pages name is there: files, commands and options, targets of make, benchmarks, devices; examples run."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.__main__ import BENCHMARKS
from benchmarks.builds import TRAINED
from benchmarks.walkthroughs import load_records, measure_network
from bfpc.backend.devices import devices
from bfpc.cli import main
from bfpc.config import load_config
from bfpc.frontend import activation
from docs.generate import DOCS
from docs.walkthroughs import config_path, load_texts, network_page

ROOT = DOCS.parent
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
PATHS = re.compile(r"`((?:bfpc|tests|benchmarks|docs|examples)/[\w./-]+)`")
COMMANDS = re.compile(r"^(?:\$ |    )(bfpc [^\n]*)$|`(bfpc [^`\n]*)`", re.MULTILINE)
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("name", ["arithmetic.md", "block_floating_point.md", "hardware.md"])
def test_worked_examples_run(name: str) -> None:
    failed, ran = doctest.testfile(str(DOCS / name), module_relative=False)
    assert ran
    assert not failed


@by_page
def test_named_files_are_there(page: Path) -> None:
    for name in PATHS.findall(page.read_text()):
        assert (ROOT / name).exists(), name


def commands(page: Path) -> Iterator[list[str]]:
    for shown in COMMANDS.findall(page.read_text()):
        words = shlex.split("".join(shown).partition("#")[0])[1:]
        if len(words) > 1 and words[0].islower() and "[" not in "".join(words):  # no sketch of how commands are written
            yield words


@by_page
def test_commands_are_written_as_they_are_parsed(page: Path) -> None:
    for name, *arguments in commands(page):
        command = main.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        given = [word for word in arguments if word.startswith("-") and not word[1:].isdigit()]
        assert set(given) <= options, f"bfpc {name} {' '.join(arguments)}"


def test_commands_are_found_on_the_pages() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 50


@by_page
def test_benchmarks_and_targets_of_make_are_there(page: Path) -> None:
    text = page.read_text()
    for module, first in re.findall(r"python -m (benchmarks[\w.]*)(?: (\w+))?", text):
        assert importlib.util.find_spec(module), module
        if module == "benchmarks" and first:
            assert first in BENCHMARKS
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "bfpc/templates/hls/Makefile.j2").read_text()
    for target in re.findall(r"(?:`|^\$ |^    )make (?:-s )?(?:-C \S+ )?([a-z][\w-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:|^\.PHONY:.* {target}\b", makefiles, re.MULTILINE), target


def test_every_figure_has_its_command() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert not [name for name in BENCHMARKS if not re.search(rf"python -m benchmarks {name}\b", text)]
    for page, command in {
        "accuracy_table": "make accuracy_table",
        "auto_table": "make auto_table",
        "recovery_table": "make recovery_table",
        "area_table": "python -m benchmarks.area_table",
    }.items():
        assert command in (DOCS / f"{page}.md").read_text()
    for name in load_texts():
        assert f"python -m benchmarks.walkthroughs {name}" in (DOCS / "networks" / f"{name}.md").read_text()


def test_the_recipes_show_the_code_as_it_is() -> None:
    page = (DOCS / "extending.md").read_text()
    assert inspect.getsource(activation.import_leaky_relu) in page
    (line,) = re.findall(r"```yaml\n(zu3: .*)\n```", page)
    assert line in (ROOT / "bfpc/backend/devices.yaml").read_text()


@pytest.mark.parametrize(
    ("recipe", "example"),
    [
        ("An ONNX operator", r"leaky_?relu"),
        ("An operator of the graph", r"PRelu|slope|TailLane|Layer\b"),
        ("A pass", r"merge[_-]clips"),
    ],
)
def test_every_file_of_a_recipe_knows_its_example(recipe: str, example: str) -> None:
    section = (DOCS / "extending.md").read_text().partition(f"## {recipe}\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in PATHS.findall(row.split(" | ")[0])]
    assert len(named) > 3
    assert not [name for name in named if not re.search(example, (ROOT / name).read_text(), re.IGNORECASE)]


def test_every_device_has_its_row() -> None:
    table = (DOCS / "explore.md").read_text().partition("## The devices")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(devices())


@pytest.mark.parametrize("name", load_texts())
def test_a_networks_config_is_the_one_that_was_measured(name: str) -> None:
    config = load_config(str(ROOT / config_path(name, load_texts()[name])))
    if name in TRAINED:
        assert config.preprocessing == TRAINED[name].preprocessing


@pytest.mark.parametrize("name", load_texts())
def test_a_networks_search_is_a_config(name: str, tmp_path: Path) -> None:
    page = network_page(name, load_texts()[name], load_records()[name], {})
    (text,) = re.findall(r"```yaml\n(extends: examples.*?)```", page, re.DOTALL)
    found = yaml.safe_load(text)
    (tmp_path / "search.yaml").write_text(yaml.safe_dump({**found, "extends": str(ROOT / found["extends"])}))
    config = load_config(str(tmp_path / "search.yaml"))
    assert config.precision == "auto"
    assert config.budget is not None


def test_every_network_has_a_page() -> None:
    assert load_texts().keys() == load_records().keys()


def test_a_networks_record_is_what_is_measured(zoo: Path, pictures: Path) -> None:
    assert (zoo / TRAINED["resnet20"].file).is_file()
    assert pictures.is_dir()
    assert measure_network("resnet20") == load_records()["resnet20"], "run python -m benchmarks.walkthroughs"
