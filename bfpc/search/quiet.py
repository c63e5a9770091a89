"""Keeps what native code prints off the standard output: some releases of HiGHS leave a line of theirs there."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Python's own output before and after stays; where there is no standard output, nothing changes."""
    _flush()
    try:
        saved = os.dup(STDOUT)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, STDOUT)
        os.close(saved)
        os.close(nowhere)


def _flush() -> None:
    """Python's buffer, and the C library's."""
    sys.stdout.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
