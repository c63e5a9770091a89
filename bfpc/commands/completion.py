"""`bfpc completion`"""

from __future__ import annotations

import json

import click
from click.shell_completion import get_completion_class

from bfpc.commands.options import Command
from bfpc.console import Console

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BFPC_COMPLETE"  # by which click knows that a shell asks


@click.command("completion", cls=Command, short_help="Print what makes a shell complete bfpc's commands.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, presets and devices.

    \b
    bash: eval "$(bfpc completion bash)"               in ~/.bashrc
    zsh:  eval "$(bfpc completion zsh)"                in ~/.zshrc
    fish: bfpc completion fish > ~/.config/fish/completions/bfpc.fish
    """
    console: Console = ctx.obj
    complete = get_completion_class(shell)
    assert complete is not None, f"click does not know {shell}"
    script = complete(ctx.find_root().command, {}, "bfpc", VARIABLE).source()
    console.show(lambda: json.dumps({"shell": shell, "script": script}, indent=2), lambda: script)
