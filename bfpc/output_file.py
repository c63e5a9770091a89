"""Files that commands write for a user: as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bfpc.errors import BuildError
from bfpc.interruption import interruption_later

ANOTHER = "give another file with -o"


def check_writable(path: Path, reads: Iterable[Path] = (), builds: Iterable[Path] = ()) -> None:
    """Raises BuildError where no file can be written, before the work is done.

    reads: the files that the command takes; `path` is none of them. builds: folders of bfpc that it lies in none of.
    """
    if any(file.is_file() and path.is_file() and path.samefile(file) for file in reads):
        raise BuildError("the output is a file that the command reads", where=str(path), fix=ANOTHER)
    if any(path.resolve().is_relative_to(folder.resolve()) for folder in builds if path != folder):
        raise BuildError("the output lies in a build, whose files stay as they are", where=str(path), fix=ANOTHER)
    if path.is_dir():
        raise BuildError("the output is a folder", where=str(path), fix="give a file with -o")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BuildError("the output's folder does not exist", where=str(path), fix="make it first")
    if not os.access(folder, os.W_OK):
        raise BuildError("the output's folder cannot be written", where=str(path), fix=ANOTHER)


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
