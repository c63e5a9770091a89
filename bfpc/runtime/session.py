"""A build as something that runs: `bfpc.load("build").run({"image": pictures})`.

The interface is that of onnxruntime's InferenceSession. Host segments run in onnxruntime, the accelerator's layers in
the emulator or in the C simulation, which give the same bits.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bfpc.backend.build_folder import Build
from bfpc.data import Array, load_inputs
from bfpc.errors import DataError
from bfpc.numerics.format import BfpTensor
from bfpc.output_file import check_writable, write_file
from bfpc.progress import Progress, silent, step
from bfpc.runtime.devices import BoardRun, Device, board_device, emulator_device, simulation_device
from bfpc.runtime.execution import Executor
from bfpc.runtime.opened import OpenedBuild, open_build
from bfpc.runtime.signature import Signature, TensorInfo, Tensors, input_specs, take_batch

DeviceName = Literal["emulator", "csim"]
DEVICES: tuple[DeviceName, ...] = ("emulator", "csim")


def load(folder: str | Path, device: DeviceName | BoardRun = "emulator") -> Session:
    """Makes a build folder ready to run.

    device: also the `run` of an accelerator on a board, see the build's `hls/driver`. Raises BuildError where the
    folder is none, damaged, or cannot be run.
    """
    if not callable(device) and device not in DEVICES:
        raise DataError(f"there is no device {device}", where="device", fix=f"give {' or '.join(DEVICES)}")
    return Session(open_build(Path(folder)), device)


class Session:
    """A build made ready to run on a device."""

    def __init__(self, opened: OpenedBuild, device: DeviceName | BoardRun) -> None:
        build, self._signature = opened.build, opened.signature
        self.build = build
        self.input_specs = input_specs(self._signature, build.graph)
        self._executor = Executor(build.graph, build.host, _open(build, device), str(build.folder))

    def get_inputs(self) -> list[TensorInfo]:
        """The network's inputs, in order: `name`, `shape` and `type` of each."""
        return list(self._signature.inputs)

    def get_outputs(self) -> list[TensorInfo]:
        """The network's outputs, in order."""
        return list(self._signature.outputs)

    def run(
        self,
        output_names: Sequence[str] | Mapping[str, Any] | None,
        input_feed: Mapping[str, Any] | None = None,
        progress: Progress = silent,
    ) -> list[Array]:
        """The outputs that are named, in that order; all for None.

        input_feed: an array [images, ...] for each input, any number of images whatever the model's batch is;
        `run(input_feed)` alone gives all outputs. Raises DataError where names, shapes or element types don't fit.
        """
        if input_feed is None and isinstance(output_names, Mapping):
            output_names, input_feed = None, output_names
        outputs = _select(self._signature, output_names)
        feeds = _check_feeds(self._signature, input_feed or {})
        images, batch = _count(self._signature, feeds), self._signature.batch
        parts: dict[str, list[Array]] = {info.name: [] for info in outputs}
        for start in progress(range(0, images, batch), "running"):
            tensors = self._executor.run(take_batch(self._signature, feeds, start)).tensors
            for name, collected in parts.items():
                collected.append(tensors[name])
        return [_join(parts[info.name], info, batch, images) for info in outputs]


def _open(build: Build, device: DeviceName | BoardRun) -> Device[BfpTensor]:
    if callable(device):
        return board_device(build, device)
    return simulation_device(build) if device == "csim" else emulator_device(build.graph)


def _select(signature: Signature, names: Iterable[str] | None) -> list[TensorInfo]:
    known = {info.name: info for info in signature.outputs}
    if names is None:
        return list(known.values())
    wanted = list(names)
    if missing := [name for name in wanted if name not in known]:
        what, fix = f"the network has no output {', '.join(missing)}", f"it has {', '.join(known)}"
        raise DataError(what, where="output_names", fix=fix)
    return [known[name] for name in wanted]


def _check_feeds(signature: Signature, feeds: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs as arrays, each as the network declares it."""
    known = {info.name: info for info in signature.inputs}
    if set(feeds) != set(known):
        faults = [f"{name} is missing" for name in known if name not in feeds]
        faults += [f"the network has no input {name}" for name in feeds if name not in known]
        fix = f"the network takes {'; '.join(map(str, known.values()))}"
        raise DataError(", ".join(faults), where="input_feed", fix=fix)
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    for name, array in arrays.items():
        _check_feed(signature, known[name], array)
    counts = {name: len(array) for name, array in arrays.items() if signature.takes_images(known[name])}
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{name} has {count}" for name, count in counts.items())
        fix = "give each as many"
        raise DataError(f"the inputs differ in their number of images: {lengths}", where="input_feed", fix=fix)
    return arrays


def _check_feed(signature: Signature, info: TensorInfo, array: Array) -> None:
    where, fix = f"input {info.name}", f"the network takes {info}"
    shape = info.shape
    if signature.takes_images(info):
        shape, fix = (None, *shape[1:]), f"{fix}, and any number of images along the first axis"
    fits = len(shape) == array.ndim and all(
        not isinstance(wanted, int) or wanted == size for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits or (signature.takes_images(info) and not len(array)):
        raise DataError(f"an array of shape {list(array.shape)} does not fit", where=where, fix=fix)
    if array.dtype != info.dtype:
        raise DataError(f"an array of {array.dtype} does not fit", where=where, fix=f"{fix}: convert it")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("an array holds NaN or infinity", where=where, fix="leave such images out")


def _count(signature: Signature, feeds: Tensors) -> int:
    """How many images there are."""
    return next((len(feeds[info.name]) for info in signature.inputs if signature.takes_images(info)), 1)


def _join(parts: Sequence[Array], info: TensorInfo, batch: int, images: int) -> Array:
    """An output of all batches, without what filled the last one up, in the element type that the model declares."""
    if images == batch:
        return parts[0].astype(info.dtype, copy=False)
    if any(part.shape[:1] != (batch,) for part in parts) or len({part.shape for part in parts}) > 1:
        what = f"output {info.name} has shape {list(parts[0].shape)} for {batch} image(s), without an axis of images"
        raise DataError(what, where="input_feed", fix=f"give {batch} image(s) at a time")
    return np.concatenate(parts)[:images].astype(info.dtype, copy=False)


@dataclass(frozen=True)
class Ran:
    """What was run and written: the file, how many images, and the outputs."""

    file: Path
    images: int
    outputs: Mapping[str, Array]

    def to_json(self) -> str:
        """The object that `bfpc run --json` prints: without the outputs' elements."""
        outputs = [
            {"name": name, "shape": array.shape, "type": str(array.dtype)} for name, array in self.outputs.items()
        ]
        return json.dumps({"file": str(self.file), "images": self.images, "outputs": outputs}, indent=2)


def run_files(folder: Path, inputs: Path, output: Path, device: DeviceName, progress: Progress = silent) -> Ran:
    """Runs a build on a picture, a folder of them, a .npy or a .npz, and writes a .npz with one array per output."""
    check_writable(output, [inputs], [folder])
    session = step(progress, "preparing", lambda: load(folder, device))
    data = load_inputs(inputs, session.input_specs, session.build.config.preprocessing, sys.maxsize)
    names = [info.name for info in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, data.arrays, progress), strict=True))
    write_file(output, _archive(outputs))
    return Ran(output, len(data), outputs)


def _archive(arrays: Mapping[str, Array]) -> bytes:
    """A .npz; numpy.savez takes names as keywords, which not every name can be."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array.astype(str) if array.dtype.kind == "O" else array)
    return content.getvalue()
