"""`bfpc inspect`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import BuildFolder, Command
from bfpc.console import Console


@click.command("inspect", cls=Command, short_help="Show what a build holds.")
@BuildFolder
@click.option("--partition", is_flag=True, help="Show what runs on the host, why, and what crosses.")
@click.pass_obj
def inspect_command(console: Console, build: Path, partition: bool) -> None:
    """Show what the folder BUILD holds: formats, tiling, utilization, bytes, and the HLS files."""
    from bfpc import tables
    from bfpc.inspection import inspect

    if partition:
        from bfpc.partition_view import inspect_partition

        view = inspect_partition(build)
        console.show(view.to_json, lambda: tables.partition(view))
    else:
        found = inspect(build)
        console.show(found.to_json, lambda: tables.inspection(found))
