"""`bfpc retrain`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bfpc.commands.options import FILE, Command, Model, config_option, output_option
from bfpc.console import Console

if TYPE_CHECKING:
    from bfpc.training.loop import Moment


@click.command("retrain", cls=Command, short_help="Train a network for its formats.")
@Model
@config_option(default="int4", show_default=True)
@click.option("--data", type=FILE, required=True, help="Pictures, .npy or .npz to train on.")
@click.option("--labels", type=FILE, help="Their classes; without, the float network teaches.")
@click.option("--epochs", type=click.IntRange(min=1), default=4, show_default=True)
@output_option("tuned.onnx")
@click.option("--calibration", type=FILE, help="As for compile; the training data if not given.")
@click.option("--validation", type=FILE, help="Data that choose the epoch whose weights stay.")
@click.option("--validation-labels", type=FILE, help="Their classes.")
@click.option("--checkpoints", type=FILE, help="A folder for the state after every epoch.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint there.")
@click.pass_obj
def retrain_command(
    console: Console,
    model: Path,
    config: str,
    data: Path,
    labels: Path | None,
    epochs: int,
    output: Path,
    calibration: Path | None,
    validation: Path | None,
    validation_labels: Path | None,
    checkpoints: Path | None,
    resume: bool,
) -> None:
    """Train the ONNX file MODEL for the formats of a config, and write it with the better weights."""
    if validation_labels and not validation:
        raise click.UsageError("--validation-labels needs --validation")
    if resume and not checkpoints:
        raise click.UsageError("--resume needs --checkpoints")
    from bfpc import tables
    from bfpc.config import load_config
    from bfpc.training.retrain import Retraining, Source, retrain

    tested = Source(validation, validation_labels) if validation else None
    task = Retraining(Source(data, labels), epochs, tested, calibration, checkpoints, resume)
    with console.progress() as progress:

        def watch(moment: Moment) -> None:
            figures = tables.epoch_figures(moment.epoch, moment.epochs)
            progress.watch(figures, moment.step, moment.steps)
            if moment.done:
                console.note(figures)

        result = retrain(model, load_config(config), output, task, progress, watch)
    if result is not None:  # in the process that leads
        console.warn(result.warnings)
        console.show(result.to_json, lambda: tables.retrained(result))
        console.hint(f"Next: bfpc compile {output} -c {config}")
