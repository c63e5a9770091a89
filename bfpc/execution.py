"""Runs a build stage by stage: the host's segments in onnxruntime, the accelerator's layers on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from bfpc.backend.build_folder import Build
from bfpc.backend.manifest import host_file
from bfpc.devices import Device, Maps, find_map
from bfpc.emulator.session import open_session, real_values, stored_inputs
from bfpc.errors import BuildError
from bfpc.ir.layout import to_onnx
from bfpc.ir.partition import HostSegment
from bfpc.ir.stages import stage_count
from bfpc.numerics.format import BfpTensor

Tensors = Mapping[str, NDArray[Any]]

FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
SESSION_ERRORS = (
    *(ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph),
    *(ort_errors.NotImplemented, ort_errors.RuntimeException),
)


@dataclass(frozen=True)
class Execution:
    """What a run found: every ONNX tensor that the host had in hand, and the maps in the feature memory."""

    tensors: Tensors
    maps: Maps


class Executor:
    """A build made ready to run on a device."""

    def __init__(self, build: Build, device: Device) -> None:
        """Raises BuildError where onnxruntime cannot run a host segment."""
        self._graph, self._device = build.graph, device
        self._segments = [_Segment(build, index) for index in range(len(build.host))]
        self._stages = max([stage_count(build.graph), *(segment.stage for segment in build.host)])

    def run(self, feeds: Tensors) -> Execution:
        """Runs the whole network. feeds: its inputs by their ONNX names, as many images as the model's batch is."""
        tensors: dict[str, NDArray[Any]] = dict(feeds)
        maps: dict[str, BfpTensor] = {}
        stages = self._graph.stages
        for stage in range(self._stages + 1):
            for segment in self._segments:
                if segment.stage == stage:
                    tensors |= segment.run(tensors)
            arriving = tuple(port for port in self._graph.inputs if port.stage == stage)
            maps |= stored_inputs(replace(self._graph, inputs=arriving), tensors)
            if stage < self._stages:
                maps |= self._device(stage, maps)
            made = [port for port in self._graph.outputs if stages[port.value] == stage]
            real = real_values({port.value: find_map(self._graph, port.value, maps) for port in made})
            tensors |= {port.name: to_onnx(real[port.value], port.axes) for port in made}
        return Execution(tensors, maps)


class _Segment:
    """A host segment as a session of onnxruntime."""

    def __init__(self, build: Build, index: int) -> None:
        segment = build.host[index]
        self.stage, self._names = segment.stage, segment.outputs
        self._where = str(build.folder / host_file(index))
        try:
            self._session = open_session(segment.model)
        except SESSION_ERRORS as error:
            raise _cannot_run(segment, self._where, error) from None

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        feeds = {value.name: as_declared(tensors[value.name], value) for value in self._session.get_inputs()}
        try:
            results = self._session.run(list(self._names), feeds)
        except SESSION_ERRORS as error:
            fix = "check the inputs that the host reads: sizes, indices and the like"
            raise BuildError(f"a host segment fails: {_said(error)}", where=self._where, fix=fix) from None
        return dict(zip(self._names, results, strict=True))


def _cannot_run(segment: HostSegment, where: str, error: Exception) -> BuildError:
    custom = [f"{node.operator} ({node.name})" for node in segment.nodes if "." in node.operator]
    what = f"onnxruntime cannot run {', '.join(custom)}" if custom else "onnxruntime cannot run a host segment"
    fix = "replace it by standard operators; until then 'bfpc verify --csim' still compares the accelerator's bits"
    return BuildError(f"{what}: {_said(error)}", where=where, fix=fix)


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def as_declared(tensor: NDArray[Any], value: ort.NodeArg) -> NDArray[Any]:
    """A tensor of floats in the element type that a session declares for an input; others as they are."""
    return tensor.astype(FLOAT_TYPES.get(value.type, tensor.dtype), copy=False)
