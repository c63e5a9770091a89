"""Errors that a user can cause: each says what is wrong, where, and what to do about it.

Anything else that is raised is a bug of bfpc and keeps its traceback.
"""

from __future__ import annotations

SCREEN_COLUMNS = 100
SHORT = 60
WHAT_ROWS, WHERE_ROWS, FIX_ROWS = 12, 3, 5  # of a screen of 24; each may take one more, where it is cut


class BfpcError(Exception):
    """Base of every error a user can cause. The command line prints it without a traceback and exits with 2.

    `what` is the fault, `where` names the file, line, node or option, `fix` says what to do. All of it fits a screen:
    what is longer is cut. Characters that a terminal would obey stand as escapes.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        self.what, self.where, self.fix = (
            _shown(text, rows) for text, rows in ((what, WHAT_ROWS), (where, WHERE_ROWS), (fix, FIX_ROWS))
        )
        super().__init__(f"{self.what}\n  where: {self.where}\n  fix: {self.fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.what, self.where, self.fix)


class ConfigError(BfpcError):
    """The YAML config holds an unknown key, a wrong type or an impossible value."""


class ModelError(BfpcError):
    """The ONNX model cannot be read, or holds something the compiler does not support."""


class DataError(BfpcError):
    """Calibration or verification data is missing or does not fit the network's inputs."""


class CapacityError(BfpcError):
    """A layer does not fit the accelerator that the `architecture:` section describes, or a tensor the memory."""


class BuildError(BfpcError):
    """A build folder is missing, incomplete or changed, or its C simulation does not compile or run."""


class TrainingError(BfpcError):
    """Retraining cannot begin or go on: PyTorch is missing, a checkpoint does not fit, or the loss is no number."""


class JobError(BfpcError):
    """Worker processes, or a cluster of them, cannot be reached or have ended."""


def short(value: object) -> str:
    """A value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."


def first_line(error: BaseException) -> str:
    """What an exception says, as far as an error quotes it."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _again(kind: type[BfpcError], what: str, where: str, fix: str) -> BfpcError:
    """An error that comes from another process."""
    return kind(what, where=where, fix=fix)


def _shown(text: str, rows: int) -> str:
    """The text as far as it fits into `rows` rows of a screen, and one more where it is cut."""
    lines = []
    for line in text.splitlines():
        start = line[: rows * SCREEN_COLUMNS].expandtabs(4)
        shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in start)
        needed = max(1, -(-len(shown) // SCREEN_COLUMNS))
        if needed > rows or len(line) > rows * SCREEN_COLUMNS:
            lines.append(f"{shown[: rows * SCREEN_COLUMNS]} ...")
            break
        lines.append(shown)
        rows -= needed
    return "\n".join(lines)
