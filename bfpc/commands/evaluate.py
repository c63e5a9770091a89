"""`bfpc evaluate`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import (
    DATA_HELP,
    FILE,
    Calibration,
    Command,
    Metric,
    Model,
    Processes,
    Scheduler,
    config_option,
)
from bfpc.console import Console


@click.command("evaluate", cls=Command, short_help="Accuracy of several configs over a data set.")
@Model
@config_option(multiple=True, default=("int8",), show_default=True, help="A preset or a file, also several times.")
@click.option("--inputs", type=FILE, required=True, help=DATA_HELP)
@click.option("--labels", type=FILE, help="Their classes, boxes, masks or pictures.")
@Metric
@click.option("--count", type=click.IntRange(min=1), help="Images used, at most.")
@Calibration
@Processes
@Scheduler
@click.pass_obj
def evaluate_command(
    console: Console,
    model: Path,
    config: tuple[str, ...],
    inputs: Path,
    labels: Path | None,
    metric: str | None,
    count: int | None,
    calibration: Path | None,
    processes: int | None,
    scheduler: str | None,
) -> None:
    """Measure the accuracy of the ONNX file MODEL over a data set, in float32 and in each config."""
    from bfpc import tables
    from bfpc.config import load_config
    from bfpc.evaluation.evaluate import DataSet, evaluate
    from bfpc.jobs import open_engine

    settings = {source: load_config(source) for source in config}
    data = DataSet(inputs, labels, count)
    with open_engine(scheduler, processes) as engine, console.progress() as progress:
        result = evaluate(model, settings, data, engine, metric=metric, calibration=calibration, progress=progress)
    console.warn(result.warnings)
    console.show(result.to_json, lambda: tables.evaluation(result))
