"""Runs a build stage by stage: the host's segments in onnxruntime, the accelerator's layers on a device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from bfpc.backend.build_folder import Build
from bfpc.backend.manifest import host_file
from bfpc.emulator.session import real_values, stored_inputs
from bfpc.ir.layout import to_onnx
from bfpc.ir.stages import stage_count
from bfpc.numerics.format import BfpTensor
from bfpc.runtime.devices import Device, StoredMaps, find_map
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.signature import Tensors


@dataclass(frozen=True)
class Execution:
    """What a run found: every ONNX tensor that the host had in hand, and the maps in the feature memory."""

    tensors: Tensors
    maps: StoredMaps


class Executor:
    """A build made ready to run on a device."""

    def __init__(self, build: Build, device: Device) -> None:
        """Raises BuildError where onnxruntime cannot run a host segment."""
        self._graph, self._device = build.graph, device
        self._host = [
            (segment.stage, open_host_model(segment.model, segment.nodes, str(build.folder / host_file(index))))
            for index, segment in enumerate(build.host)
        ]
        self._stages = stage_count(build.graph)

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
