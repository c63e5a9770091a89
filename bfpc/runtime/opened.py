"""A build folder with the ONNX models in it, checked: they may be anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from bfpc.backend.build_folder import COMPILE_AGAIN, Build, read_build
from bfpc.errors import BuildError, ModelError
from bfpc.frontend.stored_tensors import check_tensors, check_text
from bfpc.ir.layout import onnx_shape
from bfpc.runtime.signature import Signature, read_signature


@dataclass(frozen=True)
class OpenedBuild:
    """A build, the network that it was compiled from, and what that takes and gives."""

    build: Build
    original: onnx.ModelProto
    signature: Signature


def open_build(folder: Path) -> OpenedBuild:
    """Reads a build folder. Raises BuildError where a file is missing, changed, or does not fit the others.

    No model of the build may read tensors from other files.
    """
    build = read_build(folder)
    original = _parse(build.contents["model.onnx"], build.model)
    try:
        signature = read_signature(original, build.graph)
    except ModelError as error:
        raise BuildError(error.what, where=f"{build.model}: {error.where}", fix=COMPILE_AGAIN) from None
    _check_tensors_flow(build, signature)
    return OpenedBuild(build, original, signature)


def _parse(content: bytes, path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
        check_text(model.graph, path)
        check_tensors(model, path)
    except ModelError as error:
        raise BuildError(error.what, where=error.where, fix=COMPILE_AGAIN) from None
    except DecodeError:
        raise BuildError("a model of the build is no ONNX model", where=str(path), fix=COMPILE_AGAIN) from None
    return model


def _check_tensors_flow(build: Build, signature: Signature) -> None:
    """Raises BuildError where a part of the network reads what nothing before it makes, or in another shape."""
    where, infos = str(build.folder), {info.name: info for info in signature.inputs}
    for port in build.graph.inputs:
        shape = onnx_shape(port.axes, port.map_shape(build.graph.value(port.value)))
        if port.name in infos and not _fits(shape, infos[port.name].shape):
            what = f"the accelerator takes {port.name} as {list(shape)}, the network as {infos[port.name]}"
            raise BuildError(what, where=where, fix=COMPILE_AGAIN)
    known, stages = set(infos), build.graph.stages
    count = len(build.manifest["stages"])
    for stage in range(count + 1):
        for entry, segment in zip(build.manifest["host"], build.host, strict=True):
            if segment.stage == stage:
                graph = _parse(segment.model, build.folder / entry["file"]).graph
                constants = {tensor.name for tensor in graph.initializer}
                _check_known(segment.inputs, known, where)
                _check_known((value.name for value in graph.input if value.name not in constants), known, where)
                known |= {value.name for value in graph.output}
        _check_known((port.name for port in build.graph.inputs if port.stage == stage), known, where)
        known |= {port.name for port in build.graph.outputs if stages[port.value] == stage}
    _check_known((info.name for info in signature.outputs), known, where)


def _fits(shape: Sequence[int], declared: Sequence[int | str | None]) -> bool:
    """Whether one image of a declared tensor has this shape; the first axis is the batch."""
    return len(shape) == len(declared) and all(
        not isinstance(size, int) or size == own for own, size in zip(shape[1:], declared[1:], strict=True)
    )


def _check_known(names: Iterable[str], known: set[str], where: str) -> None:
    for name in names:
        if name not in known:
            what = f"a part of the network reads the tensor {name}, which nothing before it makes"
            raise BuildError(what, where=where, fix=COMPILE_AGAIN)
