"""Runs a graph, with formats or without, on batches of input maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bfpc.emulator.lowering import block_of, lower, pad_to
from bfpc.ir.graph import Graph
from bfpc.ir.layout import from_onnx
from bfpc.jobs import session_threads
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.quantize import dequantize, quantize

Maps = NDArray[np.float32]


class Emulator:
    """A graph made ready to run: bit-exact where it is quantized, float32 where it isn't."""

    def __init__(self, graph: Graph, outputs: Sequence[str], *, stored: bool = False) -> None:
        """outputs: the names of the values wanted; stored: whether `run_stored` will be called for them."""
        self._graph, self._outputs = graph, tuple(outputs)
        self._block = block_of(graph)
        self._session = open_session(lower(graph, self._outputs, with_lsb=stored).SerializeToString())

    def run(self, maps: Mapping[str, Maps]) -> dict[str, Maps]:
        """The outputs' real values [batch, channels, height, width], from the network's input maps."""
        results = zip(self._outputs, self._run(maps, ["out"]), strict=True)
        return {name: values[:, : self._graph.value(name).shape[0]] for name, values in results}

    def run_stored(self, maps: Mapping[str, Maps]) -> dict[str, BfpTensor]:
        """The outputs as the layers store them: mantissas [batch, channels, ...] and offsets [batch, blocks, ...].

        Real values alone don't tell them: -2**k is -1 times 2**k and -2 times 2**(k - 1).
        """
        results = self._run(maps, ["out", "lsb"])
        pairs = zip(self._outputs, results[::2], results[1::2], strict=True)
        return {name: self._stored(name, values, lsb) for name, values, lsb in pairs}

    def _stored(self, name: str, values: Maps, lsb: Maps) -> BfpTensor:
        format = self._graph.format(name)
        channels, height, width = self._graph.value(name).shape
        blocks = -(-channels // format.block_size)
        scale = lsb[:, :blocks].reshape(len(values), blocks, height, width)
        offsets = np.frexp(scale)[1] - 1 - format.exponent
        mantissas = values[:, :channels] / np.repeat(scale, format.block_size, axis=1)[:, :channels]
        return BfpTensor(format, mantissas.astype(np.int16), offsets.astype(np.uint8))

    def _run(self, maps: Mapping[str, Maps], suffixes: Sequence[str]) -> list[Maps]:
        """For each output in turn its ONNX outputs with these suffixes, channels padded to whole blocks."""
        feeds = {value.name: self._padded(maps[value.name]) for value in self._graph.values}
        results: list[Maps] = self._session.run([f"{name}:{end}" for name in self._outputs for end in suffixes], feeds)
        return results

    def _padded(self, maps: Maps) -> Maps:
        missing = pad_to(maps.shape[1], self._block) - maps.shape[1]
        return np.pad(maps, ((0, 0), (0, missing), (0, 0), (0, 0))) if missing else maps


def open_session(model: bytes) -> ort.InferenceSession:
    """An ONNX model made ready to run; onnxruntime's warnings about it are no use to a user."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = session_threads.get()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def folded_inputs(graph: Graph, tensors: Mapping[str, NDArray[np.floating]]) -> dict[str, Maps]:
    """ONNX input tensors, by ONNX name, as float32 input maps: laid out and folded."""
    maps = {}
    for port in graph.inputs:
        value = graph.value(port.value)
        plain = np.ascontiguousarray(from_onnx(tensors[port.name], port.axes, port.map_shape(value)), np.float32)
        maps[port.value] = plain if port.fold is None else port.fold.apply(plain, value.shape[1:])
    return maps


def stored_inputs(graph: Graph, tensors: Mapping[str, NDArray[np.floating]]) -> dict[str, BfpTensor]:
    """The input maps as the host writes them for the accelerator, quantized; mantissas [batch, channels, ...]."""
    stored = {}
    for name, maps in folded_inputs(graph, tensors).items():
        format = graph.format(name)
        stored[name] = BfpTensor(format, *quantize(maps, format))
    return stored


def of_image(maps: BfpTensor, image: int) -> BfpTensor:
    """One image of a batch of stored maps."""
    return BfpTensor(maps.format, maps.mantissas[image], maps.offsets[image])


def real_values(stored: Mapping[str, BfpTensor]) -> dict[str, Maps]:
    """Stored maps as the real values that the emulator takes."""
    return {name: dequantize(maps.mantissas, maps.offsets, maps.format) for name, maps in stored.items()}
