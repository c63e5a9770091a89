"""What commands print where: JSON with the keys that are documented, and as much else as was asked for."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console as RichConsole
from rich.console import RenderableType

from bfpc.cli import COMMANDS, main
from bfpc.console import Console
from docs.generate import DOCS
from tests.test_examples import example

SEARCH = """
extends: int8
precision: auto
budget: {at_least: 25}
search: {activation_bits: [8], activation_block_sizes: [16], weight_bits: [6, 8], weight_block_sizes: [16], checks: 0}
"""
EXPLORE = """
architecture: {c_vec: 16, k_vec: 16, feature_depth: 1024, accumulator_positions: 1024, on_chip_kilobytes: 0}
"""
ONE = "--processes 1"
INVOCATIONS = {
    "init": "init model.onnx -o init.yaml --force",
    "compile": "compile model.onnx -o again --calibration pictures.npy",
    "verify": "verify build --inputs pictures.npy --labels labels.npy",
    "run": "run build --input pictures.npy",
    "inspect": "inspect build",
    "diff": "diff build build",
    "inspect --partition": "inspect build --partition",
    "export": "export build",
    "evaluate": f"evaluate model.onnx -c int8 --inputs pictures.npy --count 8 {ONE}",
    "retrain": "retrain model.onnx --data pictures.npy --labels labels.npy --epochs 1",
    "search": f"search model.onnx -c search.yaml --calibration pictures.npy {ONE}",
    "explore": f"explore model.onnx -c explore.yaml --device zu9 --calibration pictures.npy {ONE}",
    "doctor": "doctor",
    "schema": "schema",
    "completion": "completion bash",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a small network, data, and a build."""
    folder = tmp_path_factory.mktemp("output")
    example("small_network")(folder)
    (folder / "search.yaml").write_text(SEARCH)
    (folder / "explore.yaml").write_text(EXPLORE)
    arguments = ["compile", folder / "model.onnx", "-o", folder / "build", "--calibration", folder / "pictures.npy"]
    assert CliRunner().invoke(main, list(map(str, arguments))).exit_code == 0
    return folder


@pytest.fixture(autouse=True)
def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(arguments: str) -> Result:
    return CliRunner().invoke(main, arguments.split())


# -- JSON -------------------------------------------------------------------------------------------------------------


def described_keys(command: str) -> set[str]:
    """What stands in the command's row of cli.md, and on the pages that it refers to."""
    page = (DOCS / "cli.md").read_text().partition("## JSON")[2].partition("## In Python")[0]
    [row] = re.findall(rf"^\| `{command}` \| (.*) \|$", page, re.MULTILINE)
    pages = [(DOCS / name).read_text() for name in re.findall(r"\]\((\w+\.md)", row)]
    return set(re.findall(r"`(\w+)`", " ".join([row, *pages])))


def test_every_command_is_invoked_here() -> None:
    assert {name.split()[0] for name in INVOCATIONS} == {str(command.name) for command in COMMANDS}


@pytest.mark.parametrize("command", INVOCATIONS)
def test_json_is_one_object_whose_keys_are_described(command: str) -> None:
    result = run(f"{INVOCATIONS[command]} --json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    if command != "schema":  # which describes itself
        rows = [value[0] for value in document.values() if isinstance(value, list) and value]
        used = {*document, *(key for row in rows if isinstance(row, dict) for key in row)}
        assert used <= described_keys(command)


def test_json_may_be_asked_for_before_the_command() -> None:
    assert json.loads(run(f"--json {INVOCATIONS['inspect']}").stdout) == json.loads(run("inspect build --json").stdout)


def test_a_mistake_is_an_object_beside_its_message() -> None:
    result = run("compile model.onnx -c int44 --json")
    assert result.exit_code == 2
    error: Mapping[str, Any] = json.loads(result.stdout)["error"]
    assert error.keys() == {"what", "where", "fix"}
    assert (error["what"], error["where"]) == ("no such config", "int44")
    assert result.stderr.startswith("Error: no such config\n  where: int44\n")


# -- how much ---------------------------------------------------------------------------------------------------------

COMPILE = "compile model.onnx -o again"  # on synthetic data, of which it warns


@pytest.mark.parametrize("arguments", [f"-q {COMPILE}", f"{COMPILE} --quiet"])
def test_quiet_is_the_result_alone(arguments: str) -> None:
    normal, quiet = run(COMPILE), run(arguments)
    assert normal.stderr.startswith("warning: no data given")
    assert quiet.stderr == ""
    assert quiet.stdout == normal.stdout.split("\nNext: ")[0]


def test_a_terminal_may_lack_letters() -> None:
    result = CliRunner(charset="latin-1").invoke(main, ["export", "build", "-o", "\N{SNOWMAN}.onnx"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("\\u2603.onnx: ")


def test_errors_are_never_silent() -> None:
    assert "no such config" in run("-q compile model.onnx -c int44").stderr


@pytest.mark.parametrize("arguments", [f"-v {COMPILE}", f"{COMPILE} --verbose"])
def test_verbose_is_a_line_for_each_step(arguments: str) -> None:
    normal, verbose = run(COMPILE), run(arguments)
    assert verbose.stdout == normal.stdout
    steps = [line[12:] for line in verbose.stderr.splitlines() if re.match(r" *\d+\.\d\d s  ", line)]
    assert steps == [
        "reading the model",
        "rewriting layers (16)",
        "reading the data",
        "calibrating (32)",
        "  adjusting layers (4)",
        "quantizing (6)",
        "scheduling",
        "running one image",
        "  reading the build",
        "  preparing",
        "  verifying (2)",
        "writing the build",
    ]


def test_both_contradict_each_other() -> None:
    result = run("-q inspect build -v")
    assert result.exit_code == 2
    assert "--quiet and --verbose contradict each other" in result.stderr


# -- in any width ----------------------------------------------------------------------------------------------------


def figures(table: RenderableType, width: int) -> Counter[str]:
    """The numbers of a table that is shown in a terminal."""
    console = RichConsole(width=width, file=io.StringIO(), soft_wrap=True)
    with console.capture() as capture:
        console.print(table)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in capture.get()
    return Counter(word for word in re.split(r"[\s,()\[\]]+", capture.get()) if re.fullmatch(r"\d+(\.\d+)?%?", word))


@pytest.mark.parametrize(
    "command", ["verify", "inspect", "inspect --partition", "run", "evaluate", "search", "explore", "doctor"]
)
def test_tables_fit_and_lose_no_figure(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[RenderableType] = []
    monkeypatch.setattr(Console, "show", lambda self, to_json, table: shown.append(table()))
    assert run(INVOCATIONS[command]).exit_code == 0
    [table] = shown
    wide = figures(table, 250)
    assert command == "doctor" or wide
    for width in (60, 80, 120):
        assert figures(table, width) >= wide, width


# -- in a terminal ----------------------------------------------------------------------------------------------------

COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\d")


def in_terminal(arguments: str, **environment: str) -> str:
    """All that a command shows in a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    source = {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "bfpc", *arguments.split()]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**kept, **source, **environment})
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux says so where nobody writes any more
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def test_a_terminal_has_bars_and_colours() -> None:
    shown = in_terminal(COMPILE, TERM="xterm-256color", COLUMNS="100")
    assert COLOUR.search(shown)
    assert re.search(r"adjusting layers.*\d/4  0:\d\d", shown)
    assert "warning: no data given" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}])
def test_without_colours(environment: dict[str, str]) -> None:
    shown = in_terminal(COMPILE, COLUMNS="100", **environment)
    assert not COLOUR.search(shown)
    assert "warning: no data given" in shown


def test_help_waits_for_no_library() -> None:
    asked = "import sys; from bfpc.cli import main; main(['-h'], standalone_mode=False); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment, check=True)
    assert "Exit codes:" in ran.stdout
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "onnx", "onnxruntime", "pydantic", "scipy", "torch"}


def test_a_pipe_gets_neither(folder: Path) -> None:
    command = [sys.executable, "-m", "bfpc", *COMPILE.split()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert ran.stderr.startswith("warning: ")
    assert ran.stderr.count("\n") == 1
