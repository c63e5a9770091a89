"""Runs a compiled network stage by stage: the host's segments in onnxruntime, the accelerator's layers on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from numpy.typing import NDArray

from bfpc.backend.manifest import host_file
from bfpc.ir.graph import Graph
from bfpc.ir.layout import to_onnx
from bfpc.ir.partition import HostSegment
from bfpc.ir.stages import stage_count
from bfpc.runtime.devices import Device, Map
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.signature import Tensors


@dataclass(frozen=True)
class Execution(Generic[Map]):
    """What a run found: every ONNX tensor that the host had in hand, and the maps that the device made."""

    tensors: Tensors
    maps: Mapping[str, Map]


class Executor(Generic[Map]):
    """A network made ready to run on a device."""

    def __init__(self, graph: Graph, host: Sequence[HostSegment], device: Device[Map], where: str) -> None:
        """where: the build or the model, for errors. Raises BuildError where onnxruntime cannot run a host segment."""
        self._graph, self._device = graph, device
        self._host = [
            (segment.stage, open_host_model(segment.model, segment.nodes, f"{where}/{host_file(index)}"))
            for index, segment in enumerate(host)
        ]
        self._stages = stage_count(graph)

    def run(self, feeds: Tensors) -> Execution[Map]:
        """Runs the whole network. feeds: its inputs by their ONNX names, as many images as the model's batch is."""
        tensors: dict[str, NDArray[Any]] = dict(feeds)
        maps: dict[str, Map] = {}
        stages = self._graph.stages
        for stage in range(self._stages + 1):
            for before, model in self._host:
                if before == stage:
                    tensors |= model.run(tensors)
            arriving = tuple(port for port in self._graph.inputs if port.stage == stage)
            maps |= self._device.write(replace(self._graph, inputs=arriving), tensors)
            if stage < self._stages:
                maps |= self._device.run(stage, maps)
            made = [port for port in self._graph.outputs if stages[port.value] == stage]
            tensors |= {port.name: to_onnx(self._device.read(port.value, maps), port.axes) for port in made}
        return Execution(tensors, maps)
