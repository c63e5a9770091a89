"""Whatever a file holds, it is read or refused with a BfpcError: nothing else is raised, written, started or left.

python -m tests.fuzz    does the same for as long as it is let
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.sandbox import Misbehaved, attempt
from tests.fuzz.targets import fuzz

EXAMPLES = {"model": 300, "config": 300, "build": 40, "data": 300, "labels": 300}


@pytest.mark.parametrize("target", EXAMPLES)
def test_hostile_files_are_read_or_refused(target: str) -> None:
    @settings(max_examples=EXAMPLES[target], derandomize=True, database=None)
    @given(st.integers(0, 1 << 32))
    @example(0)
    def check(seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fuzz(target, seed, Path(folder))

    check()


def test_the_sandbox_sees_what_must_not_happen(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    for fault, work in {
        "open": lambda: outside.write_text(""),
        "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
        "files changed": lambda: (inside / "left").write_text(""),
        "not done after 1 s": lambda: time.sleep(5),
    }.items():
        with pytest.raises(Misbehaved, match=fault):
            attempt(work, inside, 1)
