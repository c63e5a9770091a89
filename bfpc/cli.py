"""The command line: its commands, and how they end."""

from __future__ import annotations

import io
import json
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from bfpc import __version__
from bfpc.commands.compile import compile_command
from bfpc.commands.completion import completion_command
from bfpc.commands.diff import diff_command
from bfpc.commands.doctor import doctor_command
from bfpc.commands.evaluate import evaluate_command
from bfpc.commands.explore import explore_command
from bfpc.commands.export import export_command
from bfpc.commands.init import init_command
from bfpc.commands.inspect import inspect_command
from bfpc.commands.options import COMMON
from bfpc.commands.retrain import retrain_command
from bfpc.commands.run import run_command
from bfpc.commands.schema import schema_command
from bfpc.commands.search import search_command
from bfpc.commands.verify import verify_command
from bfpc.console import Console
from bfpc.errors import BfpcError, CapacityError
from bfpc.interruption import ends_interrupt

ENDED = 128  # exit codes of what a signal ended: this and its number, as shells have it
EXIT_CODES = """\
\b
Exit codes:
  0    success
  1    verify: bits differ, or a threshold of the config is missed;
       doctor: a required part is missing
  2    a mistake in what was given, explained on stderr
  130  interrupted: builds and files are whole, or as they were before;
       143, 129: the same, ended by SIGTERM or with the terminal
"""
COMMANDS = (
    init_command,
    compile_command,
    verify_command,
    run_command,
    inspect_command,
    diff_command,
    export_command,
    evaluate_command,
    retrain_command,
    search_command,
    explore_command,
    doctor_command,
    schema_command,
    completion_command,
)


class UserMistake(click.ClickException):
    """A BfpcError as click prints it: without a traceback."""

    exit_code = 2


class Commands(click.Group):
    """Commands whose BfpcErrors are a user's mistakes, listed in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding lacks
        try:
            with ends_interrupt():
                return super().invoke(ctx)
        except BfpcError as error:
            if ctx.ensure_object(Console).as_json:
                fault = {"what": error.what, "where": error.where, "fix": error.fix}
                click.echo(json.dumps({"error": fault}, indent=2))
            raise UserMistake(str(error)) from error
        except MemoryError as error:
            what, fix = "there is not enough memory", "give fewer images or --processes, or a smaller network"
            raise UserMistake(str(CapacityError(what, where=f"bfpc {ctx.invoked_subcommand}", fix=fix))) from error
        except KeyboardInterrupt as end:
            number = end.args[0] if end.args else signal.SIGINT
            with suppress(OSError):  # the terminal may be gone
                click.echo("interrupted", err=True)
            raise SystemExit(ENDED + number) from None


@click.group(
    cls=Commands,
    params=COMMON,
    commands={str(command.name): command for command in COMMANDS},
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="bfpc")
def main() -> None:
    """Compiles ONNX networks to block floating point hardware."""
