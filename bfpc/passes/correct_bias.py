"""Adds to a convolution's bias what quantization took from its mean.

    bias b    ->  b + mean over calibration of (float sum - quantized sum)

Depthwise networks need this most: there an error of few weights moves a channel's mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.passes.filter_taps import Maps, tap_means


def mean_sums(graph: Graph, node: Node, weight: NDArray[Any], x: Maps) -> NDArray[np.float64]:
    """The mean over images and positions of what a convolution makes, without bias [output channels].

    x: what it reads [batch, channels, height, width]. A mean of sums is a sum of means: of the inputs under each tap.
    """
    taps = tap_means(graph, node, x)
    products = weight * (taps[:, None] if isinstance(node.op, Depthwise) else taps)
    return np.asarray(products.sum(axis=(1, 2, 3)), np.float64)
