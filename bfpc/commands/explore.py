"""`bfpc explore`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import (
    FILE,
    Command,
    Processes,
    Scheduler,
    complete_fpga,
    config_option,
    output_option,
)
from bfpc.console import Console


@click.command("explore", cls=Command, short_help="Choose the accelerator for an FPGA.")
@click.argument("models", nargs=-1, required=True, type=FILE)
@config_option(default="int8", show_default=True)
@click.option("--device", required=True, shell_complete=complete_fpga, help="An FPGA, such as kv260.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="The least area that reaches this rate.")
@output_option("architecture.yaml")
@click.option("--calibration", type=FILE, help="As for compile; one image of it.")
@Processes
@Scheduler
@click.pass_obj
def explore_command(
    console: Console,
    models: tuple[Path, ...],
    config: str,
    device: str,
    fps: float | None,
    output: Path,
    calibration: Path | None,
    processes: int | None,
    scheduler: str | None,
) -> None:
    """Choose the accelerator for the ONNX files MODELS that is fastest in a device, or smallest for a rate."""
    from bfpc import tables
    from bfpc.backend.devices import find_device
    from bfpc.config import load_config
    from bfpc.explore.explore import explore
    from bfpc.explore.files import write_exploration, written_json
    from bfpc.jobs import open_engine
    from bfpc.output_file import check_writable

    settings, fpga = load_config(config), find_device(device)
    check_writable(output, [*models, Path(config)])
    with open_engine(scheduler, processes) as engine, console.progress() as progress:
        found = explore(models, settings, fpga, engine, fps=fps, calibration=calibration, progress=progress)
    warnings = write_exploration(found, config, output)
    console.warn(warnings)
    console.show(lambda: written_json(found, output, warnings), lambda: tables.exploration(found))
    console.hint(f"Next: bfpc compile {models[0]} -c {output}")
