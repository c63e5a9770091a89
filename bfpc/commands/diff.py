"""`bfpc diff`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import FILE, Command, complete_folder
from bfpc.console import Console


@click.command("diff", cls=Command, short_help="Two builds side by side.")
@click.argument("first", type=FILE, shell_complete=complete_folder)
@click.argument("second", type=FILE, shell_complete=complete_folder)
@click.option("-o", "--output", type=FILE, help="Write a page for a browser, too.")
@click.pass_obj
def diff_command(console: Console, first: Path, second: Path, output: Path | None) -> None:
    """Show the builds in the folders FIRST and SECOND side by side: figures, layers and configs."""
    from bfpc import tables
    from bfpc.report.diff import diff_builds
    from bfpc.report.diff_page import write_diff

    found = diff_builds(first, second)
    if output is not None:
        write_diff(found, output)
    console.show(found.to_json, lambda: tables.difference(found))
