"""`bfpc export`"""

from __future__ import annotations

from pathlib import Path

import click

from bfpc.commands.options import BuildFolder, Command, output_option
from bfpc.console import Console


@click.command("export", cls=Command, short_help="Write a build as an ONNX model.")
@BuildFolder
@output_option("quantized.onnx")
@click.pass_obj
def export_command(console: Console, build: Path, output: Path) -> None:
    """Write the quantized network of the folder BUILD as an ONNX model that gives the same bits in onnxruntime."""
    from bfpc import tables
    from bfpc.export import export

    with console.progress() as progress:
        result = export(build, output, progress)
    console.show(result.to_json, lambda: tables.exported(result))
