"""`bfpc verify`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import DATA_HELP, FILE, BuildFolder, Command, Metric
from bfpc.console import Console

DEFAULT_IMAGES = 8  # where no scores are taken


@click.command("verify", cls=Command, short_help="Compare a build with onnxruntime and the C++.")
@BuildFolder
@click.option("--inputs", type=FILE, help=DATA_HELP)
@click.option("--labels", type=FILE, help="Score against them: JSON, .npy, .npz or a folder.")
@Metric
@click.option("--count", type=click.IntRange(min=1), help="Images used, at most.  [default: 8, with labels all]")
@click.option("--csim", is_flag=True, help="Build and run the C++, and demand the same bits.")
@click.option("--trust", is_flag=True, help="Call the Python functions that the build's config names.")
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
) -> None:
    """Compare the folder BUILD with the original network in onnxruntime, layer by layer, and score both."""
    from bfpc import tables
    from bfpc.report.octaves import MapOctaves
    from bfpc.report.page import report_verified
    from bfpc.verify import verify

    console: Console = ctx.obj
    maps = MapOctaves()
    most = DEFAULT_IMAGES if count is None and labels is None else count
    with console.progress() as progress:
        result = verify(
            build,
            inputs,
            labels=labels,
            metric=metric,
            count=most,
            csim=csim,
            trust=trust,
            watch=maps.add,
            progress=progress,
        )
        report = report_verified(build, result, maps)
    console.warn(result.warnings)
    console.show(result.to_json, lambda: tables.verification(result))
    console.hint(f"Report: {report}")
    ctx.exit(0 if result.passed else 1)
