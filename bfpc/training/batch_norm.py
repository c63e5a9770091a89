"""BatchNormalization and training: folded into the convolution before it, or kept and trained with it.

    y = Conv(x, W, b); z = BatchNormalization(y, gamma, beta, mean, var)
    ->  z = Conv(x, W', b'),  W' = W * s,  b' = (b - mean) * s + beta,  s = gamma / sqrt(var + epsilon)

The compiler quantizes W' and b'. Where normalizations are kept, W, b, gamma and beta are trained, and W' and b' follow.
The layer that a normalization follows may also be a ConvTranspose or a Gemm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx_ir.passes import common
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

RULES = (fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule, fuse_batchnorm_into_gemm_rule)
EPSILON = 1e-5  # what ONNX takes where none is given

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Normalization:
    """One that is folded into the layer before it.

    weight, bias, gamma, beta: names of initializers; bias is that of the folded model, of which the original has none
    where `has_bias` is False. mean: of the running statistics; deviation: sqrt(var + epsilon). channels: the output
    channel of each weight, as far as its axes matter, to be broadcast with the weight. bias_factor: a Gemm's beta.
    """

    weight: str
    bias: str
    has_bias: bool
    gamma: str
    beta: str
    mean: Vector
    deviation: Vector
    channels: NDArray[np.int64]
    bias_factor: float


def fold_batch_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every normalization in the layer before it, where that is possible. Outputs keep their names."""
    network = onnx_ir.serde.deserialize_model(model)
    RewritePass(RULES)(network)
    common.RemoveUnusedNodesPass()(network)
    return onnx_ir.serde.serialize_model(network)


def find_normalizations(model: onnx.ModelProto, folded: onnx.ModelProto) -> tuple[Normalization, ...]:
    """The normalizations of `model` that `folded` has no more."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    kept = {node.output[0] for node in folded.graph.node if node.op_type == "BatchNormalization"}
    return tuple(
        _normalization(makers[node.input[0]], node, tensors)
        for node in model.graph.node
        if node.op_type == "BatchNormalization" and node.output[0] not in kept
    )


def _normalization(layer: onnx.NodeProto, node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto]) -> Normalization:
    mean, variance = (numpy_helper.to_array(tensors[name]).astype(np.float64) for name in node.input[3:5])
    weight, has_bias = layer.input[1], len(layer.input) > 2 and bool(layer.input[2])
    return Normalization(
        weight=weight,
        bias=layer.input[2] if has_bias else f"{weight}_bias",
        has_bias=has_bias,
        gamma=node.input[1],
        beta=node.input[2],
        mean=mean,
        deviation=np.sqrt(variance + _number(node, "epsilon", EPSILON)),
        channels=_channels(layer, len(mean), tuple(tensors[weight].dims)),
        bias_factor=_number(layer, "beta", 1.0),
    )


def _channels(layer: onnx.NodeProto, outputs: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The output channel of each weight, with axes of size 1 where it doesn't matter."""
    channels = np.arange(outputs)
    if layer.op_type == "Gemm":
        return channels[:, None] if _number(layer, "transB", 0) else channels[None, :]
    if layer.op_type == "Conv":
        return channels.reshape(-1, *[1] * (len(shape) - 1))
    groups = int(_number(layer, "group", 1))  # of a transposed convolution [inputs, outputs / groups, ...]
    by_input = np.repeat(channels.reshape(groups, -1), shape[0] // groups, axis=0)
    return by_input.reshape(*by_input.shape, *[1] * (len(shape) - 2))


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(onnx.helper.get_attribute_value(each)) for each in node.attribute if each.name == name), default)
