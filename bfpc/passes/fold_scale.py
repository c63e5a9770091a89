"""Batch normalization and other scales and biases per channel go into the convolution or scale before them.

%y = Conv(x, w, b); %z = Scale(%y, s, t)    ->  %z = Conv(x, w * s, b * s + t)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Graph, Node
from bfpc.ir.operators import Conv, Scale


def fold_scale(graph: Graph) -> Graph:
    """Constants change by float32 rounding only."""
    constants: dict[str, Constant] = dict(graph.constants)
    once = graph.read_once
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        before = kept.get(node.inputs["x"]) if isinstance(node.op, Scale) else None
        if before is None or not isinstance(before.op, Conv | Scale) or before.name not in once:
            kept[node.name] = node
            continue
        scale, shift = graph.array(node.inputs["scale"]), graph.array(node.inputs["bias"])
        del kept[before.name]
        kept[node.name] = _scaled(replace(before, output=node.output), scale, shift, constants)
    return graph.with_nodes(kept.values(), constants)


def _scaled(node: Node, scale: NDArray[Any], shift: NDArray[Any], constants: dict[str, Constant]) -> Node:
    """`node` with its output times `scale` plus `shift`, both per channel."""
    factor = "weight" if isinstance(node.op, Conv) else "scale"
    weight = np.asarray(constants[node.inputs[factor]], np.float64)
    bias = np.asarray(constants[node.inputs["bias"]], np.float64) if "bias" in node.inputs else 0.0
    scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    names = {factor: f"{node.name}.{factor}", "bias": f"{node.name}.bias"}
    constants[names[factor]] = scaled.astype(np.float32)
    constants[names["bias"]] = (bias * scale.astype(np.float64) + shift).astype(np.float32)
    return replace(node, inputs={**node.inputs, **names})
