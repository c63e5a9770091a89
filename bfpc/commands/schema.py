"""`bfpc schema`"""

from __future__ import annotations

import click

from bfpc.commands.options import Command
from bfpc.console import Console


@click.command("schema", cls=Command, short_help="Print the JSON schema of the config, for editors.")
@click.pass_obj
def schema_command(console: Console) -> None:
    """Print the JSON schema of the config, by which editors complete and check it."""
    from bfpc.config_schema import schema_text

    console.show(schema_text, schema_text)
