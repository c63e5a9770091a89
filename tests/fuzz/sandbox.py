"""Runs code on hostile files, and tells what it did that it must not: raise, hang, write or start something."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bfpc.errors import BfpcError

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "shutil.rmtree")
EXECUTES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect")
HARMLESS = ("/dev/null", "/proc/")


class Misbehaved(Exception):
    """What the code did that it must not."""


class _Watch:
    """What the audit hook reports to; there is one for the process, for hooks cannot be removed."""

    folder: Path | None = None
    faults: tuple[str, ...] = ()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is None:
            return
        if event in EXECUTES:
            self.faults += (f"{event} {arguments}",)
        elif (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING) or event in WRITES:
            self._check_place(event, arguments[0])

    def _check_place(self, event: str, path: object) -> None:
        assert self.folder is not None
        if isinstance(path, str | bytes | os.PathLike):
            place = os.path.realpath(os.fsdecode(path))
            if not place.startswith((f"{self.folder}/", *HARMLESS)) and "__pycache__" not in place:
                self.faults += (f"{event} {place}",)


_watch = _Watch()
_hooked: list[bool] = []


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Raises Misbehaved where something outside the folder is written, or a program is started."""
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked.append(True)
    _watch.folder, _watch.faults = folder.resolve(), ()
    try:
        yield
    finally:
        _watch.folder = None
    if _watch.faults:
        raise Misbehaved("; ".join(_watch.faults))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises Misbehaved, wherever the code is, after so many seconds."""

    def stop(_: int, frame: FrameType | None) -> None:
        where = "" if frame is None else f" in {frame.f_code.co_filename}:{frame.f_lineno}"
        raise Misbehaved(f"not done after {seconds} s{where}")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def attempt(work: Callable[[], object], folder: Path, seconds: int = 60) -> BfpcError | None:
    """Runs `work`, which may fail with a BfpcError; the files of `folder` stay as they are. Returns the error."""
    before, error = _files(folder), None
    with limited(seconds), watched(folder):
        try:
            work()
        except BfpcError as raised:
            error = raised
    if (after := _files(folder)) != before:
        raise Misbehaved(f"files changed: {sorted(map(str, after.items() ^ before.items()))}")
    return error


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {str(path): path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}
