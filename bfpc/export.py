"""Writes a build as one ONNX model of standard operators, whose outputs are those of the accelerator to the bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from bfpc.emulator.export import export_model
from bfpc.errors import BuildError
from bfpc.output_file import check_writable, write_file
from bfpc.progress import Progress, silent, step
from bfpc.runtime.opened import open_build


@dataclass(frozen=True)
class Exported:
    """What was written: the file, its inputs and outputs, its opset, the number of its nodes and its size in bytes."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    nodes: int
    bytes: int

    def to_json(self) -> str:
        """The object that `bfpc export --json` prints; its keys are the fields."""
        return json.dumps({**asdict(self), "file": str(self.file)}, indent=2)


def export(folder: Path, output: Path, progress: Progress = silent) -> Exported:
    """Exports the build in `folder` to the ONNX file `output`. Raises BuildError where either is at fault."""
    check_writable(output, builds=[folder])
    opened = step(progress, "reading the build", lambda: open_build(folder))
    build, network = opened.build, opened.original.graph
    model = step(progress, "exporting", lambda: export_model(build.graph, build.host, network))
    try:
        content = model.SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as error:  # as the version of protobuf has it
        fix = "export a network with fewer weights"
        raise BuildError(f"the model is too large for one ONNX file: {error}", where=str(output), fix=fix) from None
    write_file(output, content)
    graph, opset = model.graph, next(item.version for item in model.opset_import if not item.domain)
    inputs, outputs = (tuple(value.name for value in values) for values in (graph.input, graph.output))
    return Exported(output, inputs, outputs, opset, len(graph.node), len(content))
