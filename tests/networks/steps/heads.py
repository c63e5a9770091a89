"""How a network ends."""

from __future__ import annotations

import numpy as np

from tests.networks.onnx_writer import OnnxWriter, Tensor


def head_map(net: OnnxWriter, x: Tensor) -> Tensor:
    return x


def head_gemm(net: OnnxWriter, x: Tensor) -> Tensor:
    """Flatten or Reshape, then Gemm or MatMul and Add."""
    features = int(np.prod(x.shape))
    if net.rng.random() < 0.5:
        flat = net.node("Flatten", [x.name], (1, features))
    else:
        flat = net.node("Reshape", [x.name, net.constant(np.array([-1, features], np.int64))], (1, features))
    if net.rng.random() < 0.6:
        inputs = [flat.name, net.normal(10, features, scale=features**-0.5), net.normal(10)]
        return net.node("Gemm", inputs, (1, 10), transB=1, alpha=0.5, beta=2.0)
    product = net.node("MatMul", [flat.name, net.normal(features, 7, scale=features**-0.5)], (1, 7))
    return net.node("Add", [product.name, net.normal(7)], (1, 7))


def head_global(net: OnnxWriter, x: Tensor) -> Tensor:
    """Pooling over the whole map, as an operator of its own or as a reduction, then Gemm."""
    channels = x.shape[1]
    operator = str(net.rng.choice(["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceMin"]))
    if operator.startswith("Global"):
        pooled = net.node(operator, [x.name], (1, channels, 1, 1))
        flat = net.with_integers("Squeeze", pooled, (1, channels), 13, {"axes": [2, 3]})
    else:
        flat = net.with_integers(operator, x, (1, channels), 18, {"axes": [-2, -1]}, keepdims=0)
    return net.node("Gemm", [flat.name, net.normal(channels, 10), net.normal(1, 10)], (1, 10))


def head_channels_last(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Transpose", [x.name], (1, *x.shape[2:], x.shape[1]), perm=[0, 2, 3, 1])
