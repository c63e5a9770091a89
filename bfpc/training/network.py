"""A network as a torch module: its layers with the compiler's quantizers, trained through them.

Quantizing, the forward pass computes what the accelerator does, bit for bit as far as the sums' type holds them:
weights are quantized as they are at the moment, activations have the formats that calibration gave them. Without
quantizing it is the network in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from bfpc.config import Config
from bfpc.errors import TrainingError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Channels, Concat
from bfpc.output_file import write_file
from bfpc.passes.assign_formats import top_of
from bfpc.pipeline import Prepared, quantize_network
from bfpc.training.constants import Key, LayerConstants
from bfpc.training.layer import TrainableLayer
from bfpc.training.layouts import read_input, show_output
from bfpc.training.original import Original, take_back
from bfpc.training.parameters import Array, constants_of, trace
from bfpc.training.quantizers import Exponent, power_of_two, quantize_maps, round_to_lsb
from bfpc.training.weights import WeightFormat

_Name = TypeVar("_Name")
Weights = dict[str, tuple[Tensor, Tensor]]  # quantized, with their base exponents, by constant


def make_trainable(prepared: Prepared, config: Config, dtype: torch.dtype = torch.float32) -> TrainableNetwork:
    """The network of `prepared`, its formats as `config` says, ready to be trained.

    The passes that make up for quantization have no part in it: training does. dtype: of the sums; float64 holds those
    of every layer. Raises TrainingError where a layer's weights aren't those of the model.
    """
    formats = config.without_passes()
    original = Original(prepared.network.model, kept=config.training.batch_norm == "kept")
    path = Path(f"{prepared.graph.name}.onnx")
    sources = trace(original.folded, original.folded_tensors, config, path)
    if unknown := sources.keys() - constants_of(prepared.graph).keys():
        what = "the layer is another one where normalizations are folded before the compiler does it"
        fix = "fold them into the convolutions of the model before, with onnxscript.rewriter"
        raise TrainingError(what, where=f"layer {min(unknown)[0]}", fix=fix)
    used = {name for source in sources.values() for name in source.tensors}
    fixed = {key: array for key, array in constants_of(prepared.graph).items() if key not in sources}
    constants = LayerConstants(original.trained_tensors(used), sources, fixed, original.normalizations_of(used))
    return TrainableNetwork(prepared.graph, quantize_network(prepared, formats), constants, original, dtype)


class TrainableNetwork(nn.Module):
    """Takes the network's inputs and gives its outputs, as the accelerator's graph has them, by their ONNX names.

    quantizing: whether it computes as the accelerator does, or in floating point.
    """

    def __init__(
        self, graph: Graph, quantized: Graph, constants: LayerConstants, original: Original, dtype: torch.dtype
    ) -> None:
        """graph: the layers in float32; quantized: the same layers with formats."""
        super().__init__()
        self.quantizing = True
        self.constants = constants
        self._graph, self._original, self._dtype = quantized, original, dtype
        plain = {node.name: node for node in graph.layers}
        self._layers = {
            node.name: TrainableLayer(quantized, node, graph, plain[node.name]) for node in quantized.layers
        }
        self._listed = nn.ModuleList(self._layers.values())  # where PyTorch finds them
        self._weight_formats = _weight_formats(quantized)
        self._dead = _dead_values(quantized)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """inputs: a tensor for every input of the graph, in ONNX layout; those that the host makes are among them."""
        constants = self.constants()
        weights = self._quantized_weights(constants) if self.quantizing else {}
        values: dict[str, Tensor] = {}
        for port in self._graph.inputs:
            x = read_input(inputs[port.name].float(), port, self._graph.value(port.value))
            x = quantize_maps(x, self._graph.format(port.value)) if self.quantizing else x
            values[port.value] = x.to(self._dtype)
        for node in self._graph.nodes:
            values[node.name] = self._run(node, values, constants, weights)
            for name in self._dead[node.name]:
                del values[name]
        return {port.name: show_output(values[port.value], port.axes) for port in self._graph.outputs}

    def _run(
        self, node: Node, values: Mapping[str, Tensor], constants: Mapping[Key, Tensor], weights: Weights
    ) -> Tensor:
        if isinstance(node.op, Concat):
            return torch.cat([values[name] for name in node.inputs.values()], 1)
        x = values[node.inputs["x"]]
        if isinstance(node.op, Channels):
            return x[:, node.op.start : node.op.stop]
        residual = values[node.inputs["residual"]] if "residual" in node.inputs else None
        weight, bias = constants.get((node.name, "weight")), constants.get((node.name, "bias"))
        exponent: Exponent | None = None
        if self.quantizing:
            exponent = self._graph.format(node.inputs["x"]).exponent
            if "weight" in node.inputs:
                weight, own = weights[node.inputs["weight"]]
                exponent = own + exponent
        return cast(Tensor, self._layers[node.name](x, residual, weight, bias, exponent))

    def _quantized_weights(self, constants: Mapping[Key, Tensor]) -> Weights:
        return {
            name: format.quantize(constants[layer, "weight"], constants.get((layer, "bias")))
            for name, (layer, format) in self._weight_formats.items()
        }

    def quantized_constants(self) -> dict[Key, Tensor]:
        """The weights and biases of the layers as the accelerator has them, as real numbers."""
        constants = self.constants()
        weights = self._quantized_weights(constants)
        quantized: dict[Key, Tensor] = {}
        for node in self._graph.layers:
            if "weight" in node.inputs:
                weight, exponent = weights[node.inputs["weight"]]
                quantized[node.name, "weight"] = weight
                if (bias := constants.get((node.name, "bias"))) is not None:
                    exponent = exponent + self._graph.format(node.inputs["x"]).exponent
                    quantized[node.name, "bias"] = round_to_lsb(bias, power_of_two(exponent, bias.dtype))
        return quantized

    def write(self, path: Path) -> None:
        """Writes the original network with the trained weights, each as the number that it is quantized to.

        Raises BuildError where the file cannot be written.
        """
        with torch.no_grad():
            real, quantized = _arrays(self.constants()), _arrays(self.quantized_constants())
            trained, folded = _arrays(self.constants.trained()), _arrays(self.constants.folded())
        kept = {
            key: _within_window(array, real[key]) if key[1] == "weight" else array for key, array in quantized.items()
        }
        on_grid = take_back(folded, kept, self.constants.sources)
        write_file(path, self._original.with_trained(trained, on_grid).SerializeToString(deterministic=True))


def _arrays(tensors: Mapping[_Name, Tensor]) -> dict[_Name, Array]:
    return {key: tensor.cpu().numpy() for key, tensor in tensors.items()}


def _within_window(quantized: Array, real: Array) -> Array:
    """Quantized weights where the largest, if it is minus a power of two, doesn't move the exponent window."""
    end = np.float32(-(2.0 ** top_of(float(np.abs(real).max()))))
    return np.maximum(quantized, np.nextafter(end, np.float32(0)))


def _weight_formats(graph: Graph) -> dict[str, tuple[str, WeightFormat]]:
    """For each constant of weights its format, and the layer that gives it: the first that reads it."""
    formats: dict[str, tuple[str, WeightFormat]] = {}
    for node in graph.layers:
        if "weight" in node.inputs:
            formats.setdefault(node.inputs["weight"], (node.name, WeightFormat.of(graph, node)))
    return formats


def _dead_values(graph: Graph) -> dict[str, list[str]]:
    """For each node the values that nothing reads after it."""
    last = {name: node.name for node in graph.nodes for name in (node.name, *node.inputs.values())}
    dead: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for name, reader in last.items():
        if graph.is_value(name) and name not in graph.output_names:
            dead[reader].append(name)
    return dead
