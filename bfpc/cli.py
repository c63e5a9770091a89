"""The command line: parses, calls the library, prints.

Exit codes: 0 good, 1 verification failed, 2 a user's mistake, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.progress import Progress as ProgressBar

from bfpc import __version__, tables
from bfpc.errors import BfpcError, CapacityError
from bfpc.progress import Item, Progress, silent

if TYPE_CHECKING:
    from bfpc.config import Config
    from bfpc.runtime.session import DeviceName
    from bfpc.training.loop import Moment

# The library is imported by the command that needs it: onnxruntime alone would make `bfpc --help` wait.

DEFAULT_IMAGES = 8  # that verify uses where it takes no scores
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
        except MemoryError as error:
            what, fix = "there is not enough memory", "give fewer images or --processes, or a smaller network"
            raise UserMistake(str(CapacityError(what, where=f"bfpc {ctx.invoked_subcommand}", fix=fix))) from error
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
    if settings.precision == "auto":
        settings = _chosen_formats(model, settings, calibration)
    with _progress() as progress:
        result = compile_model(model, settings, output, calibration, dump_ir, progress)
    _warn(result.warnings)
    OUT.print(tables.summary(inspect(output)))
    OUT.print(f"\nNext: bfpc inspect {output}\n      bfpc verify {output} --csim")


@main.command("verify")
@BuildFolder
@click.option("--inputs", type=click.Path(path_type=Path), help="A folder of pictures, .npy or .npz.")
@click.option("--labels", type=click.Path(path_type=Path), help="Score against them: JSON, .npy, .npz or a folder.")
@click.option("--metric", metavar="MODULE:FUNCTION", help="A Python function that scores images.")
@click.option("--count", type=click.IntRange(min=1), help="Images used, at most.  [default: 8, with labels all]")
@click.option("--csim", is_flag=True, help="Build and run the C++, and demand the same bits.")
@click.option("--trust", is_flag=True, help="Call the Python functions that the build's config names.")
@AsJson
@click.pass_context
def verify_command(
    ctx: click.Context,
    build: Path,
    inputs: Path | None,
    labels: Path | None,
    metric: str | None,
    count: int | None,
    csim: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Compare the folder BUILD with the original network in onnxruntime, layer by layer, and score both."""
    from bfpc.verify import verify

    most = DEFAULT_IMAGES if count is None and labels is None else count
    with _progress(quiet=as_json) as progress:
        result = verify(
            build, inputs, labels=labels, metric=metric, count=most, csim=csim, trust=trust, progress=progress
        )
    _warn(result.warnings)
    _show(result.to_json() if as_json else tables.verification(result))
    ctx.exit(0 if result.passed else 1)


@main.command("run")
@BuildFolder
@click.option("--input", "inputs", type=click.Path(path_type=Path), required=True, help="Pictures, .npy or .npz.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("outputs.npz"), show_default=True)
@click.option("--device", type=click.Choice(["emulator", "csim"]), default="emulator", show_default=True)
def run_command(build: Path, inputs: Path, output: Path, device: DeviceName) -> None:
    """Run the folder BUILD on data, host segments included, and write a .npz with one array for each output."""
    from bfpc.runtime.session import run_files

    with _progress() as progress:
        result = run_files(build, inputs, output, device, progress)
    OUT.print(tables.ran(result, output))


@main.command("export")
@BuildFolder
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("quantized.onnx"), show_default=True)
def export_command(build: Path, output: Path) -> None:
    """Write the quantized network of the folder BUILD as an ONNX model that gives the same bits in onnxruntime."""
    from bfpc.export import export

    with _progress() as progress:
        result = export(build, output, progress)
    OUT.print(tables.exported(result, output))


@main.command("retrain")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-c", "--config", "config", default="int4", show_default=True, help="A preset, or a YAML file's path.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Pictures, .npy or .npz to train on.")
@click.option("--labels", type=click.Path(path_type=Path), help="Their classes; without, the float network teaches.")
@click.option("--epochs", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("tuned.onnx"), show_default=True)
@click.option("--calibration", type=click.Path(path_type=Path), help="As for compile; the training data if not given.")
@click.option("--validation", type=click.Path(path_type=Path), help="Data that choose the epoch whose weights stay.")
@click.option("--validation-labels", type=click.Path(path_type=Path), help="Their classes.")
@click.option("--checkpoints", type=click.Path(path_type=Path), help="A folder for the state after every epoch.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint there.")
def retrain_command(
    model: Path,
    config: str,
    data: Path,
    labels: Path | None,
    epochs: int,
    output: Path,
    calibration: Path | None,
    validation: Path | None,
    validation_labels: Path | None,
    checkpoints: Path | None,
    resume: bool,
) -> None:
    """Train the ONNX file MODEL for the formats of a config, and write it with the better weights."""
    if validation_labels and not validation:
        raise click.UsageError("--validation-labels needs --validation")
    if resume and not checkpoints:
        raise click.UsageError("--resume needs --checkpoints")
    from bfpc.config import load_config
    from bfpc.training.retrain import Retraining, Source, retrain

    tested = Source(validation, validation_labels) if validation else None
    task = Retraining(Source(data, labels), epochs, tested, calibration, checkpoints, resume)
    with _training_progress() as (progress, watch):
        result = retrain(model, load_config(config), output, task, progress, watch)
    if result is not None:  # in the process that leads
        _warn(result.warnings)
        OUT.print(tables.retrained(result, output))
        OUT.print(f"\nNext: bfpc compile {output} -c {config}")


@main.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-c", "--config", "configs", multiple=True, default=("int8",), show_default=True, help="One or several.")
@click.option("--inputs", type=click.Path(path_type=Path), required=True, help="A folder of pictures, .npy or .npz.")
@click.option("--labels", type=click.Path(path_type=Path), help="Their classes, boxes, masks or pictures.")
@click.option("--metric", metavar="MODULE:FUNCTION", help="A measure of your own.")
@click.option("--count", type=click.IntRange(min=1), help="Images used, at most.")
@click.option("--calibration", type=click.Path(path_type=Path), help="As for compile.")
@click.option("--processes", type=click.IntRange(min=1), help="Of this machine; one for each core if not given.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, whose workers see the same files.")
@AsJson
def evaluate_command(
    model: Path,
    configs: tuple[str, ...],
    inputs: Path,
    labels: Path | None,
    metric: str | None,
    count: int | None,
    calibration: Path | None,
    processes: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Measure the accuracy of the ONNX file MODEL over a data set, in float32 and in each config."""
    from bfpc.config import load_config
    from bfpc.evaluation.evaluate import DataSet, evaluate
    from bfpc.jobs import open_engine

    settings = {config: load_config(config) for config in configs}
    data = DataSet(inputs, labels, count)
    with open_engine(scheduler, processes) as engine, _progress(quiet=as_json) as progress:
        result = evaluate(model, settings, data, engine, metric=metric, calibration=calibration, progress=progress)
    _warn(result.warnings)
    _show(result.to_json() if as_json else tables.evaluation(result))


@main.command("search")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-c", "--config", required=True, help="A YAML file with budget: and search:.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("chosen.yaml"), show_default=True)
@click.option("--calibration", type=click.Path(path_type=Path), help="As for compile.")
@click.option("--validation", type=click.Path(path_type=Path), help="Images to check choices on; else calibration's.")
@click.option("--labels", type=click.Path(path_type=Path), help="Of the images that choices are checked on.")
@click.option("--resume", is_flag=True, help="Go on with the measurements of an interrupted search.")
@click.option("--processes", type=click.IntRange(min=1), help="Of this machine; one for each core if not given.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, whose workers see the same files.")
def search_command(
    model: Path,
    config: str,
    output: Path,
    calibration: Path | None,
    validation: Path | None,
    labels: Path | None,
    resume: bool,
    processes: int | None,
    scheduler: str | None,
) -> None:
    """Choose formats for every layer of the ONNX file MODEL under a budget, and write them as a config."""
    from bfpc.config import load_config
    from bfpc.jobs import open_engine
    from bfpc.search.files import search_to_files
    from bfpc.search.search import Data

    settings, data = load_config(config), Data(calibration, validation, labels)
    with open_engine(scheduler, processes) as engine, _progress() as progress:
        chosen = search_to_files(model, settings, data, engine, output, resume=resume, progress=progress)
    _warn(chosen.warnings)
    OUT.print(tables.chosen(chosen))
    OUT.print(f"\nNext: bfpc compile {model} -c {output}")


@main.command("explore")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-c", "--config", "config", default="int8", show_default=True, help="A preset, or a YAML file's path.")
@click.option("--device", required=True, help="An FPGA, such as kv260.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="The least area that reaches this rate.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("architecture.yaml"), show_default=True)
@click.option("--calibration", type=click.Path(path_type=Path), help="As for compile; one image of it.")
@click.option("--processes", type=click.IntRange(min=1), help="Of this machine; one for each core if not given.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, whose workers see the same files.")
def explore_command(
    models: tuple[Path, ...],
    config: str,
    device: str,
    fps: float | None,
    output: Path,
    calibration: Path | None,
    processes: int | None,
    scheduler: str | None,
) -> None:
    """Choose the accelerator for the ONNX files MODELS that is fastest in a device, or smallest for a rate."""
    from bfpc.backend.devices import find_device
    from bfpc.config import load_config
    from bfpc.explore.explore import explore
    from bfpc.explore.files import write_exploration
    from bfpc.jobs import open_engine
    from bfpc.output_file import check_writable

    settings, fpga = load_config(config), find_device(device)
    check_writable(output)
    with open_engine(scheduler, processes) as engine, _progress() as progress:
        found = explore(models, settings, fpga, engine, fps=fps, calibration=calibration, progress=progress)
    _warn(write_exploration(found, config, output))
    OUT.print(tables.exploration(found))
    OUT.print(f"\nNext: bfpc compile {models[0]} -c {output}")


@main.command("inspect")
@BuildFolder
@click.option("--partition", is_flag=True, help="Show what runs on the host, why, and what crosses.")
@AsJson
def inspect_command(build: Path, partition: bool, as_json: bool) -> None:
    """Show what the folder BUILD holds: formats, tiling, utilization, bytes, and the HLS files."""
    from bfpc.inspection import inspect

    if partition:
        from bfpc.partition_view import inspect_partition

        view = inspect_partition(build)
        _show(view.to_json() if as_json else tables.partition(view))
    else:
        found = inspect(build)
        _show(found.to_json() if as_json else tables.inspection(found))


def _chosen_formats(model: Path, settings: Config, calibration: Path | None) -> Config:
    """The config with formats in place of its budget."""
    from bfpc.jobs import open_engine
    from bfpc.search.search import Data, search

    with open_engine() as engine, _progress() as progress:
        return search(model, settings, Data(calibration), engine, progress=progress).config


def _show(shown: str | RenderableType) -> None:
    """JSON as it is, tables as wide as the terminal."""
    if isinstance(shown, str):
        click.echo(shown)
    else:
        OUT.print(shown)


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
        yield _tracked(bar)


@contextmanager
def _training_progress() -> Iterator[tuple[Progress, Callable[[Moment], None]]]:
    """The same, and for each step of a training; a line stays for each of its epochs."""
    with ProgressBar(console=NOTES, transient=True, disable=not NOTES.is_terminal) as bar:
        task = bar.add_task("training", total=None, visible=False)

        def watch(moment: Moment) -> None:
            figures = tables.epoch_figures(moment.epoch, moment.epochs)
            bar.update(task, description=figures, completed=moment.step, total=moment.steps, visible=True)
            if moment.done:
                NOTES.print(figures)

        yield _tracked(bar), watch


def _tracked(bar: ProgressBar) -> Progress:
    """A task of the bar for each loop."""

    def track(items: Iterable[Item], description: str) -> Iterable[Item]:
        return bar.track(items, description=description)

    return track
