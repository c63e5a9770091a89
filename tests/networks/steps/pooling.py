"""Steps that pool."""

from __future__ import annotations

import numpy as np

from bfpc.ir.operators import window_output_size
from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.steps.drawing import lists


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
    attributes = lists({"kernel_shape": kernel, "strides": stride, "pads": pads})
    if net.opset >= 10:
        attributes["ceil_mode"] = ceil_mode
    if operator == "AveragePool":
        attributes["count_include_pad"] = int(not ceil_mode and rng.random() < 0.5)
    return net.node(operator, [x.name], (*x.shape[:2], *map(int, size)), **attributes)


def _ceil_mode_size(size: int, kernel: int, stride: int) -> int:
    """Without pads, for a stride within the kernel; beyond it, onnx's shape inference and onnxruntime disagree."""
    return -(-(size - kernel) // stride) + 1


def large_pool(net: OnnxWriter, x: Tensor) -> Tensor:
    """A window of up to 13x13, padded or not."""
    kernel = np.minimum(net.rng.integers(5, 14, 2), x.shape[2:])
    pads = np.minimum(net.rng.integers(0, 3, 4), np.tile(kernel - 1, 2))
    stride = net.rng.integers(1, 4, 2)
    size = window_output_size(x.shape[2:], tuple(kernel), tuple(stride), tuple(pads))  # type: ignore[arg-type]
    attributes = lists({"kernel_shape": kernel, "strides": stride, "pads": pads})
    operator = str(net.rng.choice(["MaxPool", "AveragePool"]))
    return net.node(operator, [x.name], (*x.shape[:2], *map(int, size)), **attributes)
