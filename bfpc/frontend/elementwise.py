"""Arithmetic between a feature map and a constant or another map, and BatchNormalization."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, input_name, weights
from bfpc.frontend.tensor import Tensor, per_channel, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Elementwise, Scale

Vector = NDArray[np.float32]


def import_add(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    features = [index for index in range(2) if input_name(node, index) in net.tensors]
    if len(features) == 1:
        x = net.feature(node, features[0])
        return _scale(node, net, x, np.ones(x.map_shape[0]), per_channel(x, weights(node, 1 - features[0])))
    return _add_maps(node, net)


def import_sum(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    if len(node.inputs) == 1:
        return net.feature(node)
    if len(node.inputs) > 2:
        raise Unsupported(f"it sums {len(node.inputs)} tensors", "use a chain of Add")
    return import_add(node, net)


def import_sub(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, constant, is_second = _with_constant(node, net)
    sign = np.float32(1 if is_second else -1)
    return _scale(node, net, x, np.full(x.map_shape[0], sign), -sign * constant)


def import_mul(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, constant, _ = _with_constant(node, net)
    return _scale(node, net, x, constant, np.zeros(x.map_shape[0]))


def import_div(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, constant, is_second = _with_constant(node, net)
    if not is_second:
        raise Unsupported("it divides by a feature map", "divide by constants only")
    if not constant.all():
        raise Unsupported("it divides by zero", "check its constant")
    return _scale(node, net, x, 1 / constant.astype(np.float64), np.zeros(x.map_shape[0]))


def import_neg(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    return _scale(node, net, x, np.full(x.map_shape[0], -1.0), np.zeros(x.map_shape[0]))


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
    channels = (per_channel(x, vector.astype(np.float32).reshape(shape)) for vector in (scale, bias))
    return _scale(node, net, x, *channels)


def _with_constant(node: onnx_ir.Node, net: GraphBuilder) -> tuple[Tensor, Vector, bool]:
    """The feature map, the other operand as one number per channel, and whether that is the second operand."""
    features = [index for index in range(2) if input_name(node, index) in net.tensors]
    if len(features) == 2:
        raise Unsupported("both operands are feature maps", "only Add joins two feature maps; use constants otherwise")
    x = net.feature(node, features[0])
    return x, per_channel(x, weights(node, 1 - features[0])), features[0] == 0


def _add_maps(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x, residual = net.feature(node, 0), net.feature(node, 1)
    if x.shape != residual.shape:
        raise Unsupported(
            f"it broadcasts a feature map, {list(x.shape)} + {list(residual.shape)}", "add maps of one shape"
        )
    if x.layout != residual.layout or x.map_shape != residual.map_shape:
        raise Unsupported(
            f"its operands are laid out differently, {show(x.axes)} and {show(residual.axes)}",
            "transpose or flatten both in the same way",
        )
    if x.value == residual.value:
        return _scale(node, net, x, np.full(x.map_shape[0], 2.0), np.zeros(x.map_shape[0]))
    return net.emit(node, Elementwise("add"), {"x": x.value, "residual": residual.value}, x.axes)


def _scale(
    node: onnx_ir.Node, net: GraphBuilder, x: Tensor, scale: NDArray[np.floating], bias: NDArray[np.floating]
) -> Tensor:
    constants = {"scale": net.derive(node, "scale", scale), "bias": net.derive(node, "bias", bias)}
    return net.emit(node, Scale(), {"x": x.value, **constants}, x.axes)
