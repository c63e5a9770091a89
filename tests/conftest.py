"""What several tests share: the folder of real networks, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.passes.checks")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of trained networks beside the repository; the test is skipped where there is none."""
    if not (SHARED / "zoo").is_dir():
        pytest.skip("no ../shared/zoo")
    return SHARED / "zoo"


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The data folder beside the repository; the test is skipped where there is none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no ../shared/data")
    return SHARED / "data"
