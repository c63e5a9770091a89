"""Gemm and MatMul with constant weights, as convolutions."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from bfpc.frontend.builder import GraphBuilder, has_input, input_name, weights
from bfpc.frontend.tensor import Tensor, show
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
    """A map times a constant matrix, or a constant matrix times a map."""
    if input_name(node, 0) in net.tensors:
        return _linear(node, net, net.feature(node), _matrix(node, 1).T, None)
    return _linear(node, net, net.feature(node, 1), _matrix(node, 0), None, axis=-2, index=0)


def _matrix(node: onnx_ir.Node, index: int) -> NDArray[np.float32]:
    matrix = weights(node, index)
    if matrix.ndim < 2 or any(size > 1 for size in matrix.shape[:-2]):
        raise Unsupported(f"its weights have shape {list(matrix.shape)}", "use one matrix for the whole batch")
    return matrix.reshape(matrix.shape[-2:])


def _linear(
    node: onnx_ir.Node,
    net: GraphBuilder,
    x: Tensor,
    matrix: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    axis: int = -1,
    index: int = 1,
) -> Tensor:
    """`matrix` [outputs, inputs], the node's input `index`, times what stands along `axis`, plus `bias` [outputs].

    That is a convolution whose kernel is as high and wide as the map where height and width stand along that axis.
    """
    summed = x.layout[axis] if len(x.axes) > 1 else "N"
    if "N" in summed or (x.map_shape[0] > 1 and "C" not in summed):
        raise Unsupported(
            f"it sums over an axis of {show(x.axes)} that isn't the channels", "transpose or flatten the map before it"
        )
    if matrix.shape[1] != x.shape[axis]:
        raise Unsupported(f"its weights don't fit {x.shape[axis]} features", "use a matrix of that many rows")
    kernel = (x.size("H") if "H" in summed else 1, x.size("W") if "W" in summed else 1)
    weight = from_onnx(matrix, ("N", summed), (x.map_shape[0], *kernel))
    inputs = {"x": x.value, "weight": net.keep(node, index, weight)}
    if bias is not None:
        inputs["bias"] = net.keep(node, 2, bias)
    axes = [group.replace("C", "") for group in x.axes]
    axes[axis] = "C"
    return net.emit(node, Conv(kernel), inputs, tuple(axes))


def _bias(constant: NDArray[np.float32], batch: int, outputs: int) -> NDArray[np.float32]:
    try:
        rows = np.broadcast_to(constant, (batch, outputs))
    except ValueError:
        raise Unsupported(f"its bias doesn't fit {outputs} outputs", "use one bias per output") from None
    if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)):
        raise Unsupported("its bias differs between the images of a batch", "use one bias per output")
    return np.array(rows[0], np.float32)
