"""`bfpc run`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bfpc.commands.options import DATA_HELP, FILE, BuildFolder, Command, output_option
from bfpc.console import Console

if TYPE_CHECKING:
    from bfpc.runtime.session import DeviceName


@click.command("run", cls=Command, short_help="Run a build on data.")
@BuildFolder
@click.option("--input", "inputs", type=FILE, required=True, help=DATA_HELP)
@output_option("outputs.npz")
@click.option("--device", type=click.Choice(["emulator", "csim"]), default="emulator", show_default=True)
@click.pass_obj
def run_command(console: Console, build: Path, inputs: Path, output: Path, device: DeviceName) -> None:
    """Run the folder BUILD on data, host segments included, and write a .npz with one array for each output."""
    from bfpc import tables
    from bfpc.runtime.session import run_files

    with console.progress() as progress:
        result = run_files(build, inputs, output, device, progress)
    console.show(result.to_json, lambda: tables.ran(result))
