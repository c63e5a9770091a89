"""Steps that multiply by weights."""

from __future__ import annotations

import numpy as np

from bfpc.ir.operators import window_output_size
from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.steps.drawing import MOST_POSITIONS, channel_count, lists


def conv(net: OnnxWriter, x: Tensor) -> Tensor:
    """Any kernel, stride (also beyond the kernel), dilation, groups and pads that leave at least one output."""
    rng, channels = net.rng, x.shape[1]
    groups = int(rng.choice([g for g in (1, 1, 1, 2, 3, 4, channels) if channels % g == 0]))
    outputs = groups * int(rng.integers(1, 3)) if groups > 1 else channel_count(net)
    kernel, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    spans = (kernel - 1) * dilation + 1
    pads = rng.integers(0, 3, 4)
    pads[2:] += np.maximum(spans - np.array(x.shape[2:]) - pads[:2] - pads[2:], 0)
    size = window_output_size(x.shape[2:], tuple(kernel), tuple(stride), tuple(pads), tuple(dilation))  # type: ignore[arg-type]
    weights = [net.normal(outputs, channels // groups, *kernel, scale=(channels // groups * kernel.prod()) ** -0.5)]
    weights += [net.normal(outputs)] * int(rng.integers(2))
    shape = (1, outputs, *map(int, size))
    attributes = {"strides": stride, "dilations": dilation, "pads": pads, "kernel_shape": kernel}
    return net.node("Conv", [x.name, *weights], shape, group=groups, **lists(attributes))


def conv_same(net: OnnxWriter, x: Tensor) -> Tensor:
    mode = str(net.rng.choice(["SAME_UPPER", "SAME_LOWER"]))
    kernel, stride = net.rng.integers(1, 5, 2), net.rng.integers(1, 3, 2)
    outputs = channel_count(net)
    weight = net.normal(outputs, x.shape[1], *kernel, scale=(x.shape[1] * kernel.prod()) ** -0.5)
    size = -(-np.array(x.shape[2:]) // stride)
    attributes = lists({"strides": stride, "kernel_shape": kernel})
    return net.node("Conv", [x.name, weight], (1, outputs, *map(int, size)), auto_pad=mode, **attributes)


def depthwise(net: OnnxWriter, x: Tensor) -> Tensor:
    weights = [net.normal(x.shape[1], 1, 3, 3, scale=1 / 3), net.normal(x.shape[1])]
    return net.node("Conv", [x.name, *weights], x.shape, group=x.shape[1], pads=[1, 1, 1, 1])


def large_conv(net: OnnxWriter, x: Tensor) -> Tensor:
    """A kernel of up to 9x9."""
    pads, outputs = net.rng.integers(1, 5, 2), channel_count(net)
    kernel = 2 * pads + 1
    weight = net.normal(outputs, x.shape[1], *kernel, scale=(x.shape[1] * kernel.prod()) ** -0.5)
    return net.node("Conv", [x.name, weight], (1, outputs, *x.shape[2:]), **lists({"pads": np.tile(pads, 2)}))


def conv_transpose(net: OnnxWriter, x: Tensor) -> Tensor:
    """Any kernel, also below the stride, with dilation, groups, pads and output padding."""
    rng, channels, size = net.rng, x.shape[1], np.array(x.shape[2:])
    if size.prod() > MOST_POSITIONS:
        return x
    groups = int(rng.choice([g for g in (1, 1, 2, channels) if channels % g == 0]))
    outputs = int(rng.integers(1, 3)) if groups > 1 else channel_count(net)
    kernel, stride, dilation = rng.integers(1, 5, 2), rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    beyond = rng.integers(0, stride)  # onnxruntime takes no more
    full = (size - 1) * stride + (kernel - 1) * dilation + 1 + beyond
    pads = rng.integers(0, 3, 4)
    pads = np.where(np.tile(full, 2) - np.tile(pads[:2] + pads[2:], 2) > 0, pads, 0)
    weights = [net.normal(channels, outputs, *kernel, scale=(channels // groups * kernel.prod()) ** -0.5)]
    weights += [net.normal(outputs * groups)] * int(rng.integers(2))
    shape = (1, outputs * groups, *map(int, full - pads[:2] - pads[2:]))
    attributes = {"strides": stride, "dilations": dilation, "pads": pads, "output_padding": beyond}
    return net.node("ConvTranspose", [x.name, *weights], shape, group=groups, **lists(attributes))


def conv_1d(net: OnnxWriter, x: Tensor) -> Tensor:
    """The largest of each column, then a convolution and a pool along the row that is left."""
    _, channels, height, width = x.shape
    row = net.node("MaxPool", [x.name], (1, channels, 1, width), kernel_shape=[height, 1])
    line = net.with_integers("Squeeze", row, (1, channels, width), 13, {"axes": [2]})
    outputs, kernel = channel_count(net), int(net.rng.integers(1, 4))
    weight = net.normal(outputs, channels, kernel, scale=(channels * kernel) ** -0.5)
    pads, wider = [kernel // 2, kernel // 2], width + 2 * (kernel // 2) - kernel + 1
    line = net.node("Conv", [line.name, weight], (1, outputs, wider), pads=pads)
    line = net.node("AveragePool", [line.name], (1, outputs, wider - 1), kernel_shape=[2]) if wider > 1 else line
    return net.with_integers("Unsqueeze", line, (1, outputs, 1, line.shape[2]), 13, {"axes": [2]})


def residual(net: OnnxWriter, x: Tensor) -> Tensor:
    """x + f(x), in either order of the operands, sometimes as Sum."""
    weight = net.normal(x.shape[1], x.shape[1], 3, 3, scale=0.3 * x.shape[1] ** -0.5)
    branch = net.node("Conv", [x.name, weight], x.shape, pads=[1, 1, 1, 1])
    operands = [x.name, branch.name]
    net.rng.shuffle(operands)
    return net.node("Add" if net.rng.random() < 0.8 else "Sum", operands, x.shape)
