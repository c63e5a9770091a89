"""A generated HLS project in a folder."""

from __future__ import annotations

from pathlib import Path

from bfpc.backend.architecture import Architecture
from bfpc.backend.program import FIELDS
from bfpc.backend.render import render


def write_project(architecture: Architecture, folder: Path) -> Path:
    """Returns the folder."""
    for name, text in render(architecture, FIELDS).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
