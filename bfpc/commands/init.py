"""`bfpc init`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import Command, Model, config_option, output_option
from bfpc.console import Console


@click.command("init", cls=Command, short_help="Write a commented config for a network.")
@Model
@config_option(default="int8", show_default=True, help="What the config extends: a preset, or a YAML file's path.")
@output_option("bfpc.yaml")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.pass_obj
def init_command(console: Console, model: Path, config: str, output: Path, force: bool) -> None:
    """Write a commented config for the ONNX file MODEL, with its layers by name, and the schema for editors."""
    from bfpc import tables
    from bfpc.initial_config import write_initial_config

    started = write_initial_config(model, output, config, force=force)
    console.show(started.to_json, lambda: tables.started(started))
    console.hint(f"Next: bfpc compile {model} -c {output}")
