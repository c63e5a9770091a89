"""Gemm and MatMul with constant weights: convolutions whose kernel is the whole map."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, has_input, weights
from bfpc.frontend.tensor import Tensor
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import from_onnx
from bfpc.ir.operators import Conv


def import_gemm(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    attributes = node.attributes
    if attributes.get_int("transA", 0):
        raise Unsupported("it transposes its feature map (transA)", "transpose the weights instead")
    matrix = weights(node, 1) if attributes.get_int("transB", 0) else weights(node, 1).T
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    bias = _bias(weights(node, 2) * np.float32(beta), net.batch, len(matrix)) if has_input(node, 2) else None
    return _linear(node, net, x, matrix * np.float32(alpha), bias)


def import_matmul(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = net.feature(node)
    return _linear(node, net, x, weights(node, 1).T, None)


def _linear(
    node: onnx_ir.Node, net: GraphBuilder, x: Tensor, matrix: NDArray[np.float32], bias: NDArray[np.float32] | None
) -> Tensor:
    """`matrix` [outputs, inputs] times the flattened map, plus `bias` [outputs]."""
    if len(x.axes) != 2 or x.layout[0] not in ("N", ""):
        raise Unsupported(f"it works on shape {list(x.shape)}, not [N, features]", "flatten the feature map before it")
    if matrix.ndim != 2 or matrix.shape[1] != x.shape[1]:
        raise Unsupported(f"its weights don't fit {x.shape[1]} features", "use a matrix of that many rows")
    weight = from_onnx(matrix, ("N", x.axes[1]), x.map_shape)
    inputs = {"x": x.value, "weight": net.keep(node, 1, weight)}
    if bias is not None:
        inputs["bias"] = net.keep(node, 2, bias)
    return net.emit(node, Conv(kernel=(x.map_shape[1], x.map_shape[2])), inputs, ("N", "C"))


def _bias(constant: NDArray[np.float32], batch: int, outputs: int) -> NDArray[np.float32]:
    try:
        rows = np.broadcast_to(constant, (batch, outputs))
    except ValueError:
        raise Unsupported(f"its bias doesn't fit {outputs} outputs", "use one bias per output") from None
    if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)):
        raise Unsupported("its bias differs between the images of a batch", "use one bias per output")
    return np.array(rows[0], np.float32)
