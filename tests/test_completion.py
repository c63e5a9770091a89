"""Shell completion: what a shell is told, and that bash itself completes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bfpc.backend.devices import devices
from bfpc.cli import COMMANDS, main
from bfpc.commands.completion import SHELLS, VARIABLE
from bfpc.config_file import preset_names


def completions(*words: str) -> list[str]:
    """What a shell is offered for the last word; `file` and `dir` stand for files and folders of that beginning."""
    *arguments, incomplete = words
    items = ShellComplete(main, {}, "bfpc", VARIABLE).get_completions(arguments, incomplete)
    return [item.value if item.type == "plain" else item.type for item in items]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ver",), ["verify"]),
        (("compile", "--cal"), ["--calibration"]),
        (("compile", "-c", "int5"), ["int5", "int54"]),
        (("compile", "-c", "./mi"), ["file"]),
        (("compile", "mod"), ["file"]),
        (("inspect", "bui"), ["dir"]),
        (("run", "build", "--device", "c"), ["csim"]),
        (("explore", "net.onnx", "--device", "kv"), ["kv260"]),
        (("completion", "z"), ["zsh"]),
    ],
)
def test_what_a_word_can_become(words: tuple[str, ...], expected: list[str]) -> None:
    assert completions(*words) == expected


def test_all_commands_presets_and_devices() -> None:
    assert sorted(completions("")) == sorted(str(command.name) for command in COMMANDS)
    assert completions("evaluate", "net.onnx", "-c", "int8", "-c", "") == preset_names()
    assert completions("explore", "--device", "") == list(devices())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    assert f"{VARIABLE}={shell}_complete" in script
    assert json.loads(CliRunner().invoke(main, ["completion", shell, "--json"]).stdout) == {
        "shell": shell,
        "script": script,
    }


@pytest.fixture
def bfpc(tmp_path: Path) -> str:
    """The command, as an installation has it."""
    path = tmp_path / "bfpc"
    path.write_text(f"#!{sys.executable}\nfrom bfpc.cli import main\n\nmain()\n")
    path.chmod(0o755)
    return str(path)


BASH = """
    eval "$(bfpc completion bash)"
    COMP_WORDS=(bfpc explore net.onnx --device z) COMP_CWORD=4
    _bfpc_completion bfpc
    echo "${COMPREPLY[@]}"
"""
FISH = """
    bfpc completion fish | source
    complete -C "bfpc explore net.onnx --device z"
"""


@pytest.mark.parametrize(("shell", "options", "asked"), [("bash", ["--norc"], BASH), ("fish", ["--no-config"], FISH)])
def test_the_shell_itself_completes(bfpc: str, tmp_path: Path, shell: str, options: list[str], asked: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PATH": f"{Path(bfpc).parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    command = [shell, *options, "-c", asked]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert sorted(ran.stdout.split()) == sorted(name for name in devices() if name.startswith("z"))
