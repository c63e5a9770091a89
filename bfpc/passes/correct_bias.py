"""Adds to every convolution's bias what quantization took from its mean.

    %y = Conv(x, w, bias=b)    ->  %y = Conv(x, w, bias=b + mean over calibration of (float sum - quantized sum))

Layer by layer, each with the inputs that the corrected layers before it give. Depthwise networks need this most: there
an error of few weights moves a channel's mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node, Port
from bfpc.ir.operators import Concat, Conv, Depthwise
from bfpc.passes.calibrate import Maps, Prepare, mean_sum, tap_means
from bfpc.passes.prove_accumulators import prove_accumulators
from bfpc.progress import Progress


def correct_bias(
    graph: Graph,
    means: Mapping[str, NDArray[np.float64]],
    maps: Mapping[str, Maps],
    prepare: Prepare,
    progress: Progress,
) -> Graph:
    """Takes a graph with formats and quantized weights, and real biases.

    means: of the float network's sums without bias, per output channel, by layer; maps: a batch of input maps; prepare:
    makes a graph ready to run for some of its values.
    """
    constants: dict[str, Constant] = dict(graph.constants)
    alive, readers, nodes = dict(maps), graph.consumers(), []
    for node in progress(graph.nodes, "correcting biases"):
        if isinstance(node.op, Conv | Depthwise):
            weight = graph.weight(node)
            assert weight is not None
            error = means[node.name] - mean_sum(node, weight.real, tap_means(graph, node, alive[node.inputs["x"]]))
            name = f"{node.name}.corrected_bias"
            constants[name] = (_bias(graph, node) + error).astype(np.float32)
            node = replace(node, inputs={**node.inputs, "bias": name})
        nodes.append(node)
        alive[node.name] = _run(graph, node, constants, alive, prepare)
        for name in dict.fromkeys(node.inputs.values()):
            if name in readers and readers[name][-1].name == node.name:
                del alive[name]
    return graph.with_nodes(nodes, constants)


def _bias(graph: Graph, node: Node) -> NDArray[np.float64] | float:
    return np.asarray(graph.array(node.inputs["bias"]), np.float64) if "bias" in node.inputs else 0.0


def _run(
    graph: Graph, node: Node, constants: Mapping[str, Constant], alive: Mapping[str, Maps], prepare: Prepare
) -> Maps:
    """The output of one layer, or concatenation, by itself."""
    sources = tuple(graph.value(name) for name in dict.fromkeys(node.inputs.values()) if graph.is_value(name))
    own = {name: constants[name] for name in node.inputs.values() if name in constants}
    single = Graph(node.name, sources, (node,), own, (), (Port(node.name, node.name, ("N", "C", "H", "W")),))
    if not isinstance(node.op, Concat):
        single = prove_accumulators(single)
    run = prepare(single, [node.name])
    return run({value.name: alive[value.name] for value in sources})[node.name]
