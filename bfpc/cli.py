"""The command line: parses, calls the library, prints.

Exit codes: 0 good, 1 verification failed, 2 a user's mistake, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress as ProgressBar

from bfpc import __version__, tables
from bfpc.errors import BfpcError
from bfpc.progress import Item, Progress, silent

# The library is imported by the command that needs it: onnxruntime alone would make `bfpc --help` wait.

FILE_WIDTH = 160  # of tables where no terminal narrows them
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
OUT = Console(soft_wrap=True, markup=False, highlight=False, width=get_terminal_size((FILE_WIDTH, 0)).columns)
NOTES = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)

BuildFolder = click.argument("build", type=click.Path(path_type=Path))
AsJson = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else.")


class UserMistake(click.ClickException):
    """A BfpcError as click prints it: without a traceback."""

    exit_code = 2


class Commands(click.Group):
    """Commands whose BfpcErrors are a user's mistakes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BfpcError as error:
            raise UserMistake(str(error)) from error
        except KeyboardInterrupt:
            NOTES.print("interrupted")
            raise SystemExit(INTERRUPTED) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bfpc")
def main() -> None:
    """Compiles ONNX networks to block floating point hardware."""


@main.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-c", "--config", "config", default="int8", show_default=True, help="A preset, or a YAML file's path.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build"), show_default=True)
@click.option("--calibration", type=click.Path(path_type=Path), help="A folder of pictures, .npy or .npz.")
@click.option("--dump-ir", type=click.Path(path_type=Path), help="Write the graph after every pass to this folder.")
def compile_command(model: Path, config: str, output: Path, calibration: Path | None, dump_ir: Path | None) -> None:
    """Compile the ONNX file MODEL into a build folder: weights, program, schedule and the HLS C++ project."""
    from bfpc.config import load_config
    from bfpc.inspection import inspect
    from bfpc.pipeline import compile_model

    settings = load_config(config)
    with _progress() as progress:
        result = compile_model(model, settings, output, calibration, dump_ir, progress)
    _warn(result.warnings)
    OUT.print(tables.summary(inspect(output)))
    OUT.print(f"\nNext: bfpc inspect {output}\n      bfpc verify {output} --csim")


@main.command("verify")
@BuildFolder
@click.option("--inputs", type=click.Path(path_type=Path), help="A folder of pictures, .npy or .npz.")
@click.option("--count", type=click.IntRange(min=1), default=8, show_default=True, help="Images used, at most.")
@click.option("--csim", is_flag=True, help="Build and run the C++, and demand the same bits.")
@AsJson
@click.pass_context
def verify_command(ctx: click.Context, build: Path, inputs: Path | None, count: int, csim: bool, as_json: bool) -> None:
    """Compare the folder BUILD with the original network in onnxruntime, layer by layer."""
    from bfpc.verify import verify

    with _progress(quiet=as_json) as progress:
        result = verify(build, inputs, count=count, csim=csim, progress=progress)
    _warn(result.warnings)
    if as_json:
        click.echo(result.to_json())
    else:
        OUT.print(tables.verification(result))
    ctx.exit(0 if result.passed else 1)


@main.command("inspect")
@BuildFolder
@AsJson
def inspect_command(build: Path, as_json: bool) -> None:
    """Show what the folder BUILD holds: formats, tiling, utilization, bytes, and the HLS files."""
    from bfpc.inspection import inspect

    found = inspect(build)
    if as_json:
        click.echo(found.to_json())
    else:
        OUT.print(tables.inspection(found))


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        NOTES.print(f"warning: {warning}", style="yellow")


@contextmanager
def _progress(*, quiet: bool = False) -> Iterator[Progress]:
    """A progress bar for each loop that the library hands over; none where nobody watches."""
    if quiet or not NOTES.is_terminal:
        yield silent
        return
    with ProgressBar(console=NOTES, transient=True) as bar:

        def track(items: Iterable[Item], description: str) -> Iterable[Item]:
            return bar.track(items, description=description)

        yield track
