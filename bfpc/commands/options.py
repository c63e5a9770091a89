"""Arguments and options that several commands have, and what a shell completes them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from bfpc.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])


def _set(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    console = ctx.ensure_object(Console)
    if value:
        setattr(console, str(param.name), True)
    if console.quiet and console.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other", ctx)


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, callback=_set, help=help)


# Good before the command's name and after it.
COMMON = [
    _flag("--json", "as_json", help="Print one JSON object on stdout, nothing else."),
    _flag("-q", "--quiet", help="No warnings, no progress: the result and errors alone."),
    _flag("-v", "--verbose", help="A line for each step with its time, on stderr."),
]


class Command(click.Command):
    """A command with the options that all have; its function gets the `Console` first."""

    def __init__(self, name: str | None, params: Sequence[click.Parameter] = (), **settings: Any) -> None:
        super().__init__(name, params=[*params, *COMMON], **settings)


def _complete_config(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from bfpc.config_file import preset_names

    del ctx, param
    presets = [name for name in preset_names() if name.startswith(incomplete)]
    return [CompletionItem(name) for name in presets] or [CompletionItem(incomplete, type="file")]


def complete_fpga(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of FPGAs."""
    from bfpc.backend.devices import devices

    del ctx, param
    return [name for name in devices() if name.startswith(incomplete)]


def complete_folder(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders, whose names the shell knows."""
    del ctx, param
    return [CompletionItem(incomplete, type="dir")]


FILE = click.Path(path_type=Path)
CONFIG_HELP = "A preset, or a YAML file's path."
DATA_HELP = "A folder of pictures, .npy or .npz."

Model = click.argument("model", type=FILE)
BuildFolder = click.argument("build", type=FILE, shell_complete=complete_folder)
Calibration = click.option("--calibration", type=FILE, help=f"{DATA_HELP[:-1]}; synthetic data if not given.")
Metric = click.option("--metric", metavar="MODULE:FUNCTION", help="A Python function that scores images.")
Processes = click.option(
    "--processes", type=click.IntRange(min=1), help="Of this machine; one for each core if not given."
)
Scheduler = click.option(
    "--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, whose workers see the same files."
)


def config_option(**settings: Any) -> Callable[[Function], Function]:
    """`-c`, by default one of the presets."""
    return click.option("-c", "--config", shell_complete=_complete_config, **{"help": CONFIG_HELP, **settings})


def output_option(default: str, help: str | None = None) -> Callable[[Function], Function]:
    """`-o`, where the result goes."""
    return click.option("-o", "--output", type=FILE, default=Path(default), show_default=True, help=help)
