"""`bfpc search`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import FILE, Calibration, Command, Model, Processes, Scheduler, config_option, output_option
from bfpc.console import Console


@click.command("search", cls=Command, short_help="Choose formats for every layer.")
@Model
@config_option(required=True, help="A YAML file with budget: and search:.")
@output_option("chosen.yaml")
@Calibration
@click.option("--validation", type=FILE, help="Images to check choices on; else calibration's.")
@click.option("--labels", type=FILE, help="Of the images that choices are checked on.")
@click.option("--resume", is_flag=True, help="Go on with the measurements of an interrupted search.")
@Processes
@Scheduler
@click.pass_obj
def search_command(
    console: Console,
    model: Path,
    config: str,
    output: Path,
    calibration: Path | None,
    validation: Path | None,
    labels: Path | None,
    resume: bool,
    processes: int | None,
    scheduler: str | None,
) -> None:
    """Choose formats for every layer of the ONNX file MODEL under a budget, and write them as a config."""
    from bfpc import tables
    from bfpc.config import load_config
    from bfpc.jobs import open_engine
    from bfpc.output_file import check_writable
    from bfpc.search.files import search_to_files
    from bfpc.search.search import Data

    settings, data = load_config(config), Data(calibration, validation, labels)
    check_writable(output, [Path(config)])
    with open_engine(scheduler, processes) as engine, console.progress() as progress:
        chosen = search_to_files(model, settings, data, engine, output, resume=resume, progress=progress)
    console.warn(chosen.warnings)
    console.show(lambda: chosen.to_json(output), lambda: tables.chosen(chosen))
    console.hint(f"Next: bfpc compile {model} -c {output}")
