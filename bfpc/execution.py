"""Runs a build stage by stage: the host's segments in onnxruntime, the accelerator's layers on a device."""

from __future__ import annotations

from collections.abc import Sequence
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
from bfpc.ir.partition import HostNode
from bfpc.ir.stages import stage_count
from bfpc.numerics.format import BfpTensor
from bfpc.signature import Tensors

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
        self._host = [
            (segment.stage, open_host_model(segment.model, segment.nodes, str(build.folder / host_file(index))))
            for index, segment in enumerate(build.host)
        ]
        self._stages = max([stage_count(build.graph), *(stage for stage, _ in self._host)])

    def run(self, feeds: Tensors) -> Execution:
        """Runs the whole network. feeds: its inputs by their ONNX names, as many images as the model's batch is."""
        tensors: dict[str, NDArray[Any]] = dict(feeds)
        maps: dict[str, BfpTensor] = {}
        stages = self._graph.stages
        for stage in range(self._stages + 1):
            for before, model in self._host:
                if before == stage:
                    tensors |= model.run(tensors)
            arriving = tuple(port for port in self._graph.inputs if port.stage == stage)
            maps |= stored_inputs(replace(self._graph, inputs=arriving), tensors)
            if stage < self._stages:
                maps |= self._device(stage, maps)
            made = [port for port in self._graph.outputs if stages[port.value] == stage]
            real = real_values({port.value: find_map(self._graph, port.value, maps) for port in made})
            tensors |= {port.name: to_onnx(real[port.value], port.axes) for port in made}
        return Execution(tensors, maps)


class HostModel:
    """An ONNX model in onnxruntime, from tensors by name to tensors by name."""

    def __init__(self, session: ort.InferenceSession, where: str) -> None:
        self._session, self._where = session, where

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs; inputs are cast to the type of float that the model declares."""
        names = [value.name for value in self._session.get_outputs()]
        feeds = {value.name: _as_declared(tensors[value.name], value) for value in self._session.get_inputs()}
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except SESSION_ERRORS as error:
            fix = "check the inputs that the host reads: sizes, indices and the like"
            raise BuildError(f"onnxruntime fails: {_said(error)}", where=self._where, fix=fix) from None


def open_host_model(content: bytes, nodes: Sequence[HostNode], where: str) -> HostModel:
    """Makes a model ready to run. Raises BuildError naming those of its nodes that onnxruntime may not know."""
    try:
        return HostModel(open_session(content), where)
    except SESSION_ERRORS as error:
        custom = [f"{node.operator} ({node.name})" for node in nodes if "." in node.operator]
        what = f"onnxruntime cannot run {', '.join(custom)}" if custom else "onnxruntime cannot run the model"
        fix = "replace it by standard operators; 'bfpc verify --csim' compares at least the accelerator's bits"
        raise BuildError(f"{what}: {_said(error)}", where=where, fix=fix) from None


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _as_declared(tensor: NDArray[Any], value: ort.NodeArg) -> NDArray[Any]:
    """A tensor of floats in the element type that a session declares for an input; others as they are."""
    return tensor.astype(FLOAT_TYPES.get(value.type, tensor.dtype), copy=False)
