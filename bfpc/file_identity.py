"""Whether files are those that were there before, without reading them."""

from __future__ import annotations

from pathlib import Path


def file_identity(*paths: Path | None) -> str:
    """Of files and of what folders hold: names, sizes and times, as text."""
    files = [file for path in paths if path for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return repr(facts)
