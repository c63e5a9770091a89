"""Files that commands write for a user: as a whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bfpc.errors import BuildError
from bfpc.interruption import interruption_later


def check_writable(path: Path) -> None:
    """Raises BuildError where no file can be written, before the work is done."""
    if path.is_dir():
        raise BuildError("the output is a folder", where=str(path), fix="give a file with -o")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BuildError("the output's folder does not exist", where=str(path), fix="make it first")
    if not os.access(folder, os.W_OK):
        raise BuildError("the output's folder cannot be written", where=str(path), fix="give another file with -o")


def write_file(path: Path, content: bytes) -> None:
    """Writes a file, replacing an earlier one. Raises BuildError where that is not possible."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        fix = "check the folder's permissions and the free space, or give another file with -o"
        raise BuildError(f"cannot write the file: {error}", where=str(path), fix=fix) from error
    finally:
        with interruption_later(), suppress(OSError):
            partial.unlink(missing_ok=True)
