"""Where a training stands, in a file: written as a whole after every epoch, and read to go on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from bfpc.errors import TrainingError, first_line
from bfpc.output_file import write_file

FILE = "checkpoint.pt"

State = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a training follows from; the order of the images follows from seed and epoch.

    settings: a digest of what must not change in between. best: the weights with the best figure so far. figures: of
    the epochs that are done, as plain numbers.
    """

    settings: str
    network: State
    optimizer: State
    schedule: State
    best: State
    figures: list[dict[str, Any]]


def prepare_folder(folder: Path, *, resume: bool) -> None:
    """Makes the folder. Raises TrainingError where that is not possible, or a checkpoint there would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = "give another folder with --checkpoints"
        raise TrainingError(f"cannot make the folder of checkpoints: {error}", where=str(folder), fix=fix) from error
    if (folder / FILE).exists() and not resume:
        what, fix = "the folder holds a checkpoint already", "give --resume to go on from it, or another folder"
        raise TrainingError(what, where=str(folder), fix=fix)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the folder's checkpoint."""
    buffer = io.BytesIO()
    torch.save({name: getattr(checkpoint, name) for name in (field.name for field in fields(checkpoint))}, buffer)
    write_file(folder / FILE, buffer.getvalue())


def load_checkpoint(folder: Path, settings: str, device: torch.device) -> Checkpoint | None:
    """The folder's checkpoint, None where there is none. Raises TrainingError where it is unreadable or of others."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # what PyTorch raises on broken files is not documented
        fix = "remove it and start anew"
        raise TrainingError(f"not a readable checkpoint: {first_line(error)}", where=str(path), fix=fix) from None
    if checkpoint.settings != settings:
        what = "the checkpoint is of a training with another model, config, data, number of epochs or of processes"
        raise TrainingError(what, where=str(path), fix="give the same ones, or another folder")
    return checkpoint
