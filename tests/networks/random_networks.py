"""Small random ONNX networks over every operator the frontend reads, of odd shapes, reproducible from a seed.

python -m tests.networks.random_networks 7 network.onnx
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bfpc.ir.operators import window_output_size
from tests.networks.onnx_writer import OnnxWriter, Tensor

OPSETS = (7, 9, 10, 11, 13, 17, 18, 21, 23)
CHANNELS = (1, 2, 3, 4, 5, 8, 11, 16, 17, 24, 33)
Step = Callable[[OnnxWriter, Tensor], Tensor]


def random_network(seed: int) -> onnx.ModelProto:
    """A network of 4 to 10 steps on maps [N, C, H, W], with one to three outputs."""
    rng = np.random.default_rng(seed)
    net = OnnxWriter(rng, opset=int(rng.choice(OPSETS)))
    x = _input(net)
    outputs = []
    for index in rng.permutation(np.repeat(np.arange(len(STEPS)), 2))[: rng.integers(4, 11)]:
        x = STEPS[index](net, x)
        if rng.random() < 0.1 and any(node.op_type == "Conv" for node in net.nodes):
            outputs.append(x)
    x = HEADS[rng.integers(len(HEADS))](net, conv(net, x))
    distinct = {tensor.name: tensor for tensor in [*outputs[:2], x]}
    return net.finish(f"random{seed}", list(distinct.values()), batch="batch" if rng.random() < 0.3 else 1)


def _input(net: OnnxWriter) -> Tensor:
    channels, height, width = int(net.rng.choice(CHANNELS)), *(int(size) for size in net.rng.integers(1, 14, 2))
    if net.rng.random() < 0.7:
        return net.input(1, channels, height, width)
    x = net.input(1, height, width, channels)
    if net.rng.random() < 0.5:
        x = net.node("Sub", [x.name, net.normal(channels)], x.shape)
    return net.node("Transpose", [x.name], (1, channels, height, width), perm=[0, 3, 1, 2])


# -- convolutions ------------------------------------------------------------------------------------------------------


def conv(net: OnnxWriter, x: Tensor) -> Tensor:
    """Any kernel, stride (also beyond the kernel), dilation, groups and pads that leave at least one output."""
    rng, channels = net.rng, x.shape[1]
    groups = int(rng.choice([g for g in (1, 1, 1, 2, 3, 4, channels) if channels % g == 0]))
    outputs = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.choice(CHANNELS))
    kernel, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    spans = (kernel - 1) * dilation + 1
    pads = rng.integers(0, 3, 4)
    pads[2:] += np.maximum(spans - np.array(x.shape[2:]) - pads[:2] - pads[2:], 0)
    size = window_output_size(x.shape[2:], tuple(kernel), tuple(stride), tuple(pads), tuple(dilation))  # type: ignore[arg-type]
    weights = [net.normal(outputs, channels // groups, *kernel, scale=(channels // groups * kernel.prod()) ** -0.5)]
    weights += [net.normal(outputs)] * int(rng.integers(2))
    shape = (1, outputs, *map(int, size))
    attributes = {"strides": stride, "dilations": dilation, "pads": pads, "kernel_shape": kernel}
    return net.node("Conv", [x.name, *weights], shape, group=groups, **_lists(attributes))


def conv_same(net: OnnxWriter, x: Tensor) -> Tensor:
    mode = str(net.rng.choice(["SAME_UPPER", "SAME_LOWER"]))
    kernel, stride = net.rng.integers(1, 5, 2), net.rng.integers(1, 3, 2)
    outputs = int(net.rng.choice(CHANNELS))
    weight = net.normal(outputs, x.shape[1], *kernel, scale=(x.shape[1] * kernel.prod()) ** -0.5)
    size = -(-np.array(x.shape[2:]) // stride)
    attributes = _lists({"strides": stride, "kernel_shape": kernel})
    return net.node("Conv", [x.name, weight], (1, outputs, *map(int, size)), auto_pad=mode, **attributes)


def depthwise(net: OnnxWriter, x: Tensor) -> Tensor:
    weights = [net.normal(x.shape[1], 1, 3, 3, scale=1 / 3), net.normal(x.shape[1])]
    return net.node("Conv", [x.name, *weights], x.shape, group=x.shape[1], pads=[1, 1, 1, 1])


# -- elementwise -------------------------------------------------------------------------------------------------------


def batch_normalization(net: OnnxWriter, x: Tensor) -> Tensor:
    channels = x.shape[1]
    statistics = [net.uniform(0.5, 1.5, channels), net.normal(channels), net.normal(channels)]
    inputs = [x.name, *statistics, net.uniform(0.5, 1.5, channels)]
    return net.node("BatchNormalization", inputs, x.shape, epsilon=1e-3)


def relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Relu", [x.name], x.shape)


def clip(net: OnnxWriter, x: Tensor) -> Tensor:
    """With a lower bound, an upper bound, or both."""
    low, high = [(0.0, 6.0), (-1.0, 1.0), (-0.5, None), (None, 0.75)][net.rng.integers(4)]
    given = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    if net.opset < 11:
        return net.node("Clip", [x.name], x.shape, **given)
    bounds = ["" if bound is None else net.constant(np.array(bound, np.float32)) for bound in (low, high)]
    return net.node("Clip", [x.name, *bounds], x.shape)


def leaky_relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("LeakyRelu", [x.name], x.shape, alpha=float(net.rng.choice([0.01, 0.1, 0.25])))


def prelu(net: OnnxWriter, x: Tensor) -> Tensor:
    slopes = 1 if net.rng.random() < 0.3 else x.shape[1]
    return net.node("PRelu", [x.name, net.uniform(-0.25, 0.75, slopes, 1, 1)], x.shape)


def arithmetic(net: OnnxWriter, x: Tensor) -> Tensor:
    """Add, Sub, Mul or Div with a scalar or one constant per channel, on either side where that has a meaning."""
    operator = str(net.rng.choice(["Add", "Sub", "Mul", "Div"]))
    shape = [(), (1,), (x.shape[1], 1, 1), (1, x.shape[1], 1, 1)][net.rng.integers(4)]
    operands = [x.name, net.uniform(0.5, 1.5, *shape)]
    if operator != "Div" and net.rng.random() < 0.3:
        operands.reverse()
    return net.node(operator, operands, x.shape)


def negate(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Neg", [x.name], x.shape)


def residual(net: OnnxWriter, x: Tensor) -> Tensor:
    """x + f(x), in either order of the operands, sometimes as Sum."""
    weight = net.normal(x.shape[1], x.shape[1], 3, 3, scale=0.3 * x.shape[1] ** -0.5)
    branch = net.node("Conv", [x.name, weight], x.shape, pads=[1, 1, 1, 1])
    operands = [x.name, branch.name]
    net.rng.shuffle(operands)
    return net.node("Add" if net.rng.random() < 0.8 else "Sum", operands, x.shape)


# -- pooling -----------------------------------------------------------------------------------------------------------


def pool(net: OnnxWriter, x: Tensor) -> Tensor:
    """MaxPool or AveragePool with any window that fits; pads stay below the window's size."""
    rng = net.rng
    operator = str(rng.choice(["MaxPool", "AveragePool"]))
    kernel = np.minimum(rng.integers(1, 4, 2), x.shape[2:])
    stride = rng.integers(1, 4, 2)
    pads = np.minimum(rng.integers(0, 3, 4), np.tile(kernel - 1, 2))
    ceil_mode = int(net.opset >= 10 and not pads.any() and (stride <= kernel).all() and rng.random() < 0.3)
    size = window_output_size(x.shape[2:], tuple(kernel), tuple(stride), tuple(pads))  # type: ignore[arg-type]
    if ceil_mode:
        size = tuple(_ceil_mode_size(*sizes) for sizes in zip(x.shape[2:], kernel, stride, strict=True))  # type: ignore[assignment]
    attributes = _lists({"kernel_shape": kernel, "strides": stride, "pads": pads})
    if net.opset >= 10:
        attributes["ceil_mode"] = ceil_mode
    if operator == "AveragePool":
        attributes["count_include_pad"] = int(not ceil_mode and rng.random() < 0.5)
    return net.node(operator, [x.name], (*x.shape[:2], *map(int, size)), **attributes)


def _ceil_mode_size(size: int, kernel: int, stride: int) -> int:
    """Without pads, for a stride within the kernel; beyond it, onnx's shape inference and onnxruntime disagree."""
    return -(-(size - kernel) // stride) + 1


# -- structure ---------------------------------------------------------------------------------------------------------


def concat(net: OnnxWriter, x: Tensor) -> Tensor:
    """Two branches, or a branch and x itself."""
    outputs = [int(net.rng.choice(CHANNELS)) for _ in range(2)]
    weights = [net.normal(count, x.shape[1], 1, 1, scale=x.shape[1] ** -0.5) for count in outputs]
    branches = [
        net.node("Conv", [x.name, weight], (1, count, *x.shape[2:]))
        for weight, count in zip(weights, outputs, strict=True)
    ]
    if net.rng.random() < 0.4:
        branches[net.rng.integers(2)] = x
    shape = (1, sum(branch.shape[1] for branch in branches), *x.shape[2:])
    return net.node("Concat", [branch.name for branch in branches], shape, axis=int(net.rng.choice([1, -3])))


def pad(net: OnnxWriter, x: Tensor) -> Tensor:
    before, after = np.zeros(4, int), np.zeros(4, int)
    before[2:], after[2:] = net.rng.integers(0, 3, 2), net.rng.integers(0, 3, 2)
    if net.rng.random() < 0.5:
        before[1], after[1] = net.rng.integers(0, 5, 2)
    shape = tuple(int(size) for size in np.array(x.shape) + before + after)
    return net.with_integers("Pad", x, shape, 11, {"pads": [*map(int, before), *map(int, after)]}, mode="constant")


def slice_map(net: OnnxWriter, x: Tensor) -> Tensor:
    """A part of the channels, or every other row and column."""
    if net.rng.random() < 0.5:
        start = int(net.rng.integers(0, x.shape[1]))
        bounds = {"starts": [start], "ends": [2**31 - 1], "axes": [1]}
        return net.with_integers("Slice", x, (1, x.shape[1] - start, *x.shape[2:]), 10, bounds)
    if net.opset < 10:
        return x
    start = int(net.rng.integers(0, min(x.shape[2:])))
    size = (-(-(extent - start) // 2) for extent in x.shape[2:])
    bounds = {"starts": [start, start], "ends": [1000, 1000], "axes": [2, 3], "steps": [2, 2]}
    return net.with_integers("Slice", x, (*x.shape[:2], *size), 10, bounds)


def relayout(net: OnnxWriter, x: Tensor) -> Tensor:
    """Channels last and back, with an activation between; or through Identity, Dropout and Unsqueeze / Squeeze."""
    if net.rng.random() < 0.5:
        channels, height, width = x.shape[1:]
        last = net.node("Transpose", [x.name], (1, height, width, channels), perm=[0, 2, 3, 1])
        active = net.node("Relu", [last.name], last.shape)
        return net.node("Transpose", [active.name], x.shape, perm=[0, 3, 1, 2])
    same = net.node("Identity", [x.name], x.shape)
    kept = net.node("Dropout", [same.name], x.shape)
    longer = net.with_integers("Unsqueeze", kept, (*x.shape[:2], 1, *x.shape[2:]), 13, {"axes": [2]})
    return net.with_integers("Squeeze", longer, x.shape, 13, {"axes": [2]})


# -- how a network ends ------------------------------------------------------------------------------------------------


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
    operator = str(net.rng.choice(["GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"]))
    if operator.startswith("Global"):
        pooled = net.node(operator, [x.name], (1, channels, 1, 1))
        flat = net.with_integers("Squeeze", pooled, (1, channels), 13, {"axes": [2, 3]})
    else:
        flat = net.with_integers(operator, x, (1, channels), 18, {"axes": [-2, -1]}, keepdims=0)
    return net.node("Gemm", [flat.name, net.normal(channels, 10), net.normal(1, 10)], (1, 10))


def head_channels_last(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Transpose", [x.name], (1, *x.shape[2:], x.shape[1]), perm=[0, 2, 3, 1])


def _lists(attributes: Mapping[str, NDArray[np.integer]]) -> dict[str, Any]:
    return {name: [int(value) for value in values] for name, values in attributes.items()}


STEPS: tuple[Step, ...] = (
    *(conv, conv, conv_same, depthwise),
    *(batch_normalization, relu, clip, leaky_relu, prelu, arithmetic, negate, residual),
    *(pool, concat, pad, slice_map, relayout),
)
HEADS: tuple[Step, ...] = (head_map, head_gemm, head_global, head_channels_last)

if __name__ == "__main__":
    onnx.save(random_network(int(sys.argv[1])), sys.argv[2])
