"""Which layers cost a trained network its SQNR at int8: one layer in int8, all others in 12 bits; 4 pictures."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape

import numpy as np
from numpy.typing import NDArray

from benchmarks.builds import TRAINED, available, calibration_pictures, compared_pictures, model
from benchmarks.figures import Figure
from bfpc.comparison import measure as compare
from bfpc.config import Config, load_config
from bfpc.data import InputData, load_inputs
from bfpc.emulator.session import Emulator, folded_inputs, real_values, stored_inputs
from bfpc.frontend.reader import Network
from bfpc.ir.graph import Graph
from bfpc.pipeline import prepare_network, quantize_network
from bfpc.runtime.signature import input_specs, read_signature

TITLE = "Sensitivity: the layers that cost most, in int8 while all others have 12 bits; noise of the first output"
PICTURES = 4
WORST = 3
NARROW = {"mantissa_bits": 8}

Maps = dict[str, NDArray[np.float32]]


def measure() -> Iterator[Figure]:
    for name in available():
        config = load_config("int12").model_copy(update={"preprocessing": TRAINED[name].preprocessing})
        prepared = prepare_network(model(name), config, calibration_pictures(name))
        graph = prepared.graph
        pictures = _compared(prepared.network, config, name).arrays
        expected = _output(graph, folded_inputs(graph, pictures))
        shares = {}
        for layer in graph.layers:
            quantized = quantize_network(prepared, _narrowed(config, layer.name))
            found = _output(quantized, real_values(stored_inputs(quantized, pictures)))
            shares[layer.name] = _noise(expected, found)
        total = sum(shares.values())
        for layer_name in sorted(shares, key=lambda key: -shares[key])[:WORST]:
            what = f"{name}, {layer_name} ({type(_node_op(graph, layer_name)).__name__})"
            yield Figure(what, 100 * shares[layer_name] / total, "% of the noise")


def _compared(network: Network, config: Config, name: str) -> InputData:
    specs = input_specs(read_signature(network.model, network.graph), network.graph)
    return load_inputs(compared_pictures(name, PICTURES), specs, config.preprocessing, PICTURES)


def _narrowed(config: Config, layer: str) -> Config:
    """The config with the layer's map and weights in 8 bits."""
    override = {"name": escape(layer), "activation": NARROW, "weight": NARROW}
    return Config.model_validate(config.model_dump(mode="json") | {"overrides": [override]})


def _output(graph: Graph, maps: Maps) -> NDArray[np.float32]:
    name = graph.outputs[0].value
    return Emulator(graph, [name]).run(maps)[name]


def _noise(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Noise over signal, of power."""
    sqnr = compare(expected, found).comparison("").sqnr_db
    assert sqnr is not None
    return float(10 ** (-sqnr / 10))


def _node_op(graph: Graph, name: str) -> object:
    node = graph.producer(name)
    assert node is not None
    return node.op
