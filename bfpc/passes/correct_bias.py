"""Adds to a convolution's bias what quantization took from its mean.

    bias b    ->  b + mean over calibration of (float sum - quantized sum)

Depthwise networks need this most: there an error of few weights moves a channel's mean. Where images disagree about the
mean, few of them say little about others: a channel's correction is smaller by the share that chance has in its square
(James and Stein, "Estimation with quadratic loss", 1961).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Depthwise
from bfpc.passes.filter_taps import Maps, tap_means

Means = NDArray[np.float64]


def mean_sums(graph: Graph, node: Node, weight: NDArray[Any], x: Maps) -> Means:
    """For each image the mean over positions of what a convolution makes, without bias [images, output channels].

    x: what it reads [images, channels, height, width]. A mean of sums is a sum of means: of the inputs under each tap.
    """
    taps = tap_means(graph, node, x)
    if isinstance(node.op, Depthwise):
        return np.asarray(np.einsum("nchw,chw->nc", taps, weight[:, 0]))
    return np.asarray(taps.reshape(len(taps), -1) @ weight.reshape(len(weight), -1).T)


def corrected_bias(
    bias: NDArray[Any], missing: Means, wanted: Maps, run: Callable[[NDArray[np.float32]], Maps]
) -> NDArray[np.float32]:
    """The bias [channels], corrected in the channels where the layer's map then comes nearer to the float one.

    missing: as for `bias_correction`; wanted: the float network's map; run: gives the layer's map with a bias.
    """
    correction = bias_correction(missing)
    before, after = (_powers(run(each.astype(np.float32)) - wanted) for each in (bias, bias + correction))
    return np.asarray(bias + correction * (after < before), np.float32)


def _powers(error: Maps) -> Means:
    """Of each channel."""
    return np.asarray(np.square(error).sum(axis=(0, 2, 3), dtype=np.float64))


def bias_correction(missing: Means) -> Means:
    """What to add to the bias [channels].

    missing: for each image the float network's mean less the quantized one's [images, channels].
    """
    mean = missing.mean(axis=0)
    if len(missing) == 1:
        return np.asarray(mean)
    by_chance = missing.var(axis=0, ddof=1) / len(missing)
    square = np.square(mean)
    return np.asarray(mean * np.maximum(square - by_chance, 0) / np.where(square == 0, 1, square))
