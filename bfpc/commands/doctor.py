"""`bfpc doctor`"""

from __future__ import annotations

import click

from bfpc.commands.options import Command
from bfpc.console import Console


@click.command("doctor", cls=Command, short_help="Say which parts are there, and how to get the others.")
@click.pass_context
def doctor_command(ctx: click.Context) -> None:
    """Say which of the parts that bfpc uses are there: libraries, compiler, HLS tools, and how to get the others."""
    from bfpc import tables
    from bfpc.doctor import diagnose

    console: Console = ctx.obj
    with console.progress() as progress:
        found = diagnose(progress)
    console.show(found.to_json, lambda: tables.diagnosis(found))
    ctx.exit(1 if found.missing else 0)
