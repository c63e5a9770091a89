"""Runs a graph, with formats or without, on batches of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bfpc.emulator.lowering import block_of, lower, pad_to
from bfpc.ir.graph import Graph
from bfpc.ir.layout import from_onnx
from bfpc.numerics.quantize import dequantize, quantize

Maps = NDArray[np.float32]


class Emulator:
    """A graph made ready to run: bit-exact where it is quantized, float32 where it isn't."""

    def __init__(self, graph: Graph, outputs: Sequence[str]) -> None:
        """outputs: the names of the values wanted."""
        self._graph, self._outputs = graph, tuple(outputs)
        self._block = block_of(graph)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        model = lower(graph, self._outputs).SerializeToString()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """The outputs' real values [batch, channels, height, width], from the input maps (see `input_maps`)."""
        feeds = {value.name: self._padded(maps[value.name]) for value in self._graph.values}
        results = self._session.run([f"{name}:out" for name in self._outputs], feeds)
        return {
            name: result[:, : self._graph.value(name).shape[0]]
            for name, result in zip(self._outputs, results, strict=True)
        }

    def _padded(self, maps: Maps) -> Maps:
        missing = pad_to(maps.shape[1], self._block) - maps.shape[1]
        return np.pad(maps, ((0, 0), (0, missing), (0, 0), (0, 0))) if missing else maps


def input_maps(graph: Graph, tensors: Mapping[str, NDArray[np.floating]]) -> dict[str, Maps]:
    """ONNX input tensors, by ONNX name, as the maps the host writes: laid out, folded, quantized."""
    maps = {}
    for port in graph.inputs:
        value = graph.value(port.value)
        plain = np.ascontiguousarray(from_onnx(tensors[port.name], port.axes, port.map_shape(value)), np.float32)
        folded = plain if port.fold is None else port.fold.apply(plain, value.shape[1:])
        maps[port.value] = folded if value.format is None else dequantize(*quantize(folded, value.format), value.format)
    return maps
