"""Normalizations. That of a trained BatchNormalization is a scale; the others are computed from the map itself:

(x - mean) * Table(1 / sqrt)(mean of squares) * scale + bias
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, has_input, has_second_output, weights
from bfpc.frontend.elementwise import join_maps
from bfpc.frontend.node_builder import NodeBuilder, Step, chain
from bfpc.frontend.pooling import pool_axes
from bfpc.frontend.reduction import sums
from bfpc.frontend.tensor import CHANNELS_FIRST, Tensor, per_channel, show
from bfpc.frontend.unsupported import Unsupported

Vector = NDArray[np.float32]
SMALLEST_SQUARE = 1e-30  # of a norm: zeros divided by theirs stay zeros


def import_batch_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    if node.attributes.get_int("training_mode", 0):
        raise Unsupported("it is in training mode", "export the network for inference")
    if node.attributes.get_int("spatial", 1) == 0:
        raise Unsupported("it normalises every position by itself (spatial = 0)", "normalise per channel")
    shape = (-1,) + (1,) * (len(x.axes) - 2)
    gamma, beta, mean, variance = (weights(node, index).astype(np.float64) for index in (1, 2, 3, 4))
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    with np.errstate(divide="ignore", invalid="ignore"):  # the constants that come of it are refused: not finite
        scale = gamma / np.sqrt(variance + np.float64(epsilon))
        bias = beta - mean * scale
    by_channel = [per_channel(x, vector.astype(np.float32).reshape(shape)) for vector in (scale, bias)]
    return NodeBuilder(node, net).scale(x, by_channel[0], by_channel[1])


def import_local_response_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """x / (bias + alpha / size * the sum of squares over `size` neighbouring channels) ** beta."""
    x, build = net.feature(node), NodeBuilder(node, net)
    if x.layout[1] != "C" and x.map_shape[0] > 1:
        raise Unsupported(f"its input's axes are {show(x.axes)}, not (N, C, H, W)", "transpose the input")
    size = node.attributes.get_int("size", 1) or 1
    alpha, beta, bias = (
        float(node.attributes.get_float(name, default) or 0.0)
        for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    channels = np.arange(x.map_shape[0])
    distance = channels - channels[:, None]
    band = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    squares = build.multiply(x, x, role="squares")
    total = build.mix(squares, band * (alpha / size), np.full(len(channels), bias), role="sums")
    return build.multiply(x, build.table(total, ("power", -beta), role="factors"))


def import_lp_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """x divided by its Euclidean norm along one axis."""
    x, build = net.feature(node), NodeBuilder(node, net)
    letters = x.layout[_axis(node)]
    if node.attributes.get_int("p", 2) != 2 or "N" in letters:
        raise Unsupported("it isn't the Euclidean norm of a map", "use p = 2 and the axis of the channels")
    steps = sums(build, x, letters, mean=False)
    total = chain(build.multiply(x, x, role="squares"), steps, last="sums")
    factors = build.table(total, ("clip", SMALLEST_SQUARE, math.inf), ("power", -0.5), role="factors")
    return join_maps(build, "multiply", x, factors)


def import_instance_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """Over the positions of each channel; or, where a Reshape split the channels, over the positions of each group."""
    x, vectors = net.view(node), [weights(node, index) for index in (1, 2)]
    groups = x.shape[1]
    if x.axes[0] != "N" or not _holds_groups(x, x.layout[1]):
        raise Unsupported(f"its input's axes are {show(x.axes)}, not (N, C, H, W)", "transpose the input")
    whole = Tensor(x.value, x.map_shape, CHANNELS_FIRST, x.batch)
    y = _by_group(NodeBuilder(node, net), whole, groups, *(np.repeat(v, x.map_shape[0] // groups) for v in vectors))
    return replace(y, axes=x.axes, parts=x.parts)


def _holds_groups(x: Tensor, group: str) -> bool:
    """Whether an ONNX axis counts groups of neighbouring channels, such that all else of a group is positions."""
    if len(group) > 1:
        return False
    part = x.part(group or "C")
    return not group or (part.axis == "C" and part.size * part.stride == x.size("C"))


def import_group_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, vectors = net.map(node), [weights(node, index) for index in (1, 2)]
    channels = x.map_shape[0]
    groups = node.attributes.get_int("num_groups", 1) or 1
    return _by_group(NodeBuilder(node, net), x, groups, *(np.repeat(v, channels // len(v)) for v in vectors))


def _by_group(build: NodeBuilder, x: Tensor, groups: int, scale: Vector, bias: Vector) -> Tensor:
    """Normalizes each group of channels over all its positions."""
    size = x.map_shape[0] // groups

    def mean(x: Tensor, role: str) -> Tensor:
        if size == 1:
            return pool_axes(build.node, build.net, x, "average", "HW", x.axes, role)
        x = pool_axes(build.node, build.net, x, "average", "HW", x.axes, f"{role}_by_channel")
        return build.mix(x, np.kron(np.eye(groups), np.full((size, size), 1 / size)), role=role)

    return _normalized(build, x, mean, scale, bias)


def import_layer_normalization(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, build = net.feature(node), NodeBuilder(node, net)
    letters = "".join(x.layout[_axis(node) % len(x.axes) :])
    if has_second_output(node) or "N" in letters:
        raise Unsupported("it normalizes the batch, or its mean is used", "normalize channels, height and width only")
    scale = per_channel(x, weights(node, 1))
    bias = per_channel(x, weights(node, 2)) if has_input(node, 2) else np.zeros_like(scale)

    def mean(x: Tensor, role: str) -> Tensor:
        return chain(x, sums(build, x, letters, mean=True), last=role)

    return _normalized(build, x, mean, scale, bias)


def _normalized(build: NodeBuilder, x: Tensor, mean: Step, scale: Vector, bias: Vector) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for means of any kind."""
    epsilon = build.node.attributes.get_float("epsilon", 1e-5) or 0.0
    centered = join_maps(build, "subtract", x, mean(x, "mean"), role="centered")
    variance = mean(build.multiply(centered, centered, role="squares"), "variance")
    factors = build.table(variance, ("affine", 1.0, float(epsilon)), ("power", -0.5), role="factors")
    return build.scale(join_maps(build, "multiply", centered, factors, role="normal"), scale, bias)


def _axis(node: onnx_ir.Node) -> int:
    axis = node.attributes.get_int("axis", -1)
    return -1 if axis is None else axis
