"""Makes up for quantization layer by layer, each with the maps that the layers before it, adjusted, really give.

    %y = Conv(x, w, bias=b)    ->  the same with w rounded by `compensate_rounding`, and b moved by `correct_bias`

The float network runs beside the quantized one. A channel keeps its corrected bias where its stored map comes nearer
to the float network's: after weights that make up for their rounding it may come to lie farther.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bfpc.config_sections import Passes
from bfpc.ir.graph import Constant, Graph, Node, Port
from bfpc.ir.operators import Conv, Depthwise, Layer
from bfpc.numerics.format import BfpTensor
from bfpc.numerics.quantize import ChooseOffsets
from bfpc.passes.calibrate import Prepare
from bfpc.passes.compensate_rounding import compensate_dense, compensate_depthwise, rows_wanted
from bfpc.passes.correct_bias import corrected_bias, mean_sums
from bfpc.passes.filter_taps import Maps, patches
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.passes.quantize_weights import offsets_rule
from bfpc.progress import Progress

MOST_ELEMENTS = 1 << 25  # of the largest map, all images together


def adjusted_images(graph: Graph) -> int:
    """How many images are worth adjusting to: maps of many positions need few, and memory holds no more."""
    values = (*graph.values, *(node.output for node in graph.nodes))
    return max(1, MOST_ELEMENTS // max(prod(value.shape) for value in values))


@dataclass
class _Walk:
    """A network on its way through its layers: the constants so far, and the maps that are still read."""

    graph: Graph
    constants: dict[str, Constant]
    maps: dict[str, Maps]
    prepare: Prepare

    def run(self, node: Node) -> Maps:
        """The output of one node by itself."""
        sources = tuple(self.graph.value(name) for name in dict.fromkeys(node.inputs.values()) if name in self.maps)
        own = {name: self.constants[name] for name in node.inputs.values() if name in self.constants}
        single = Graph(node.name, sources, (node,), own, (), (Port(node.name, node.name, ("N", "C", "H", "W")),))
        if isinstance(node.op, Layer) and node.output.format is not None:
            single = prove_accumulators(single)
        run = self.prepare(single, [node.name])
        return run({value.name: self.maps[value.name] for value in sources})[node.name]

    def array(self, node: Node, role: str) -> np.ndarray:
        """A constant in float64."""
        constant = self.constants[node.inputs[role]]
        return np.asarray(constant.real if isinstance(constant, BfpTensor) else constant, np.float64)


def adjust_layers(
    graph: Graph,
    original: Graph,
    maps: Mapping[str, Maps],
    original_maps: Mapping[str, Maps],
    passes: Passes,
    prepare: Prepare,
    progress: Progress,
) -> Graph:
    """Takes a graph with formats and quantized weights, and real biases.

    original: the same layers in float32. maps, original_maps: a batch of the input maps, quantized and not. prepare:
    makes a graph ready to run for some of its values.
    """
    quantized = _Walk(graph, dict(graph.constants), dict(maps), prepare)
    floating = _Walk(original, dict(original.constants), dict(original_maps), prepare)
    readers, nodes = graph.consumers(), []
    shared = graph.shared_weights  # no rounding suits the inputs of all that read them
    for node, float_node in progress(list(zip(graph.nodes, original.nodes, strict=True)), "adjusting layers"):
        floating.maps[node.name] = floating.run(float_node)
        if isinstance(node.op, Conv | Depthwise):
            if passes.compensate_rounding and node.inputs["weight"] not in shared:
                node = _compensated(quantized, node, floating.array(float_node, "weight"), offsets_rule(passes))
            if passes.correct_bias:
                node = _corrected(quantized, node, floating, float_node)
        nodes.append(node)
        if node.name not in quantized.maps:
            quantized.maps[node.name] = quantized.run(node)
        for name in dict.fromkeys(node.inputs.values()):
            if name in readers and readers[name][-1].name == node.name:
                del quantized.maps[name], floating.maps[name]
    return graph.with_nodes(nodes, quantized.constants)


def _compensated(walk: _Walk, node: Node, weight: np.ndarray, choose_offsets: ChooseOffsets) -> Node:
    """The layer with weights that make up for their rounding; as it is where calibration gives too little."""
    rounded = walk.constants[node.inputs["weight"]]
    assert isinstance(rounded, BfpTensor)
    seen = patches(walk.graph, node, walk.maps[node.inputs["x"]], rows_wanted(weight[0].size))
    compensate = compensate_depthwise if isinstance(node.op, Depthwise) else compensate_dense
    with threadpool_limits(1, "blas"):  # of many small products: threads would wait for each other on busy cores
        compensated = compensate(weight, rounded.format, seen, choose_offsets)
    if compensated is None:
        return node
    name = f"{node.name}.compensated_weight"
    walk.constants[name] = compensated
    return replace(node, inputs={**node.inputs, "weight": name})


def _corrected(walk: _Walk, node: Node, floating: _Walk, float_node: Node) -> Node:
    """The layer with its bias corrected in the channels where that helps; what it gives is left in the walk's maps."""
    expected = mean_sums(walk.graph, node, floating.array(float_node, "weight"), floating.maps[node.inputs["x"]])
    found = mean_sums(walk.graph, node, walk.array(node, "weight"), walk.maps[node.inputs["x"]])
    bias = walk.array(node, "bias") if "bias" in node.inputs else np.zeros(node.output.shape[0])
    name = f"{node.name}.corrected_bias"
    corrected = replace(node, inputs={**node.inputs, "bias": name})

    def run(tried: NDArray[np.float32]) -> Maps:
        walk.constants[name] = tried
        return walk.run(corrected)

    walk.maps[node.name] = run(corrected_bias(bias, expected - found, floating.maps[node.name], run))
    return corrected
