"""`bfpc compile`"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bfpc.commands.options import FILE, Calibration, Command, Model, config_option, output_option
from bfpc.console import Console

if TYPE_CHECKING:
    from bfpc.config import Config


@click.command("compile", cls=Command, short_help="An ONNX network becomes a build folder.")
@Model
@config_option(default="int8", show_default=True)
@output_option("build")
@Calibration
@click.option("--dump-ir", type=FILE, help="Write the graph after every pass to this folder.")
@click.pass_obj
def compile_command(
    console: Console, model: Path, config: str, output: Path, calibration: Path | None, dump_ir: Path | None
) -> None:
    """Compile the ONNX file MODEL into a build folder: weights, program, schedule and the HLS C++ project."""
    from bfpc import tables
    from bfpc.config import load_config
    from bfpc.inspection import inspect
    from bfpc.pipeline import compile_model
    from bfpc.report.page import REPORT, report_files

    settings = load_config(config)
    if settings.precision == "auto":
        settings = _chosen_formats(console, model, settings, calibration)
    with console.progress() as progress:
        describe = partial(report_files, calibration=calibration, progress=progress)
        result = compile_model(model, settings, output, calibration, dump_ir, progress, describe)
    console.warn(result.warnings)
    found = inspect(output)
    console.show(lambda: found.summary_json(result.warnings), lambda: tables.summary(found))
    console.hint(f"Next: open {output / REPORT}\n      bfpc verify {output} --csim")


def _chosen_formats(console: Console, model: Path, settings: Config, calibration: Path | None) -> Config:
    """The config with formats in place of its budget."""
    from bfpc.jobs import open_engine
    from bfpc.search.search import Data, search

    with open_engine() as engine, console.progress() as progress:
        return search(model, settings, Data(calibration), engine, progress=progress).config
