"""Errors that a user can cause: each says what is wrong, where, and what to do about it.

Anything else that is raised is a bug of bfpc and keeps its traceback.
"""

from __future__ import annotations


class BfpcError(Exception):
    """Base of every error a user can cause. The command line prints it without a traceback and exits with 2.

    `what` is the fault, `where` names the file, line, node or option, `fix` says what to do.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(
            "\n".join(part for part in (what, where and f"  where: {where}", fix and f"  fix: {fix}") if part)
        )


class ConfigError(BfpcError):
    """The YAML config holds an unknown key, a wrong type or an impossible value."""


class ModelError(BfpcError):
    """The ONNX model cannot be read, or holds something the compiler does not support."""


class DataError(BfpcError):
    """Calibration or verification data is missing or does not fit the network's inputs."""


class CapacityError(BfpcError):
    """A layer does not fit the accelerator that the `architecture:` section describes."""


class BuildError(BfpcError):
    """A build folder is missing, incomplete or changed, or its C simulation does not compile or run."""


class TrainingError(BfpcError):
    """Retraining cannot begin or go on: PyTorch is missing, a checkpoint does not fit, or the loss is no number."""


class JobError(BfpcError):
    """Worker processes, or a cluster of them, cannot be reached or have ended."""
