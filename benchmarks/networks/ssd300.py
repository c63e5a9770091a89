"""SSD300 on VGG-16, as published (Liu et al., 2016), with the names of the published layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from benchmarks.networks.drawing import Network, Tensor

CLASSES = 21  # of PASCAL VOC, the background included
BIAS = 0.05
# Blocks of 3x3 convolutions, and the pool after each: kernel, stride, pad, ceil_mode.
VGG = (
    ((64, 64), (2, 2, 0, False)),
    ((128, 128), (2, 2, 0, False)),
    ((256, 256, 256), (2, 2, 0, True)),
    ((512, 512, 512), (2, 2, 0, False)),
    ((512, 512, 512), (3, 1, 1, False)),
)
# A 1x1 convolution, then a 3x3 one: outputs of both, stride and pad of the second.
EXTRA = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))
BOXES = (4, 6, 6, 6, 4, 4)  # at each position of the six maps that the heads read


def ssd300() -> onnx.ModelProto:
    """1x3x300x300 to `locations` [1, 8732, 4] and `scores` [1, 8732, 21]; 26.3 M parameters, 31.4 GMAC."""
    net, image = Network(np.random.default_rng(300)), Tensor("image", (1, 3, 300, 300))
    maps = _features(net, image)
    locations = net.concat(_heads(net, maps, "location", 4), "locations")
    logits = net.concat(_heads(net, maps, "confidence", CLASSES), "logits")
    scores = net.node("Softmax", [logits.name], "scores", logits.shape, axis=2)
    return net.finish("ssd300", image, [locations, scores])


def _features(net: Network, x: Tensor) -> list[Tensor]:
    """The six maps, of 38, 19, 10, 5, 3 and 1 positions a side."""
    maps = []
    for block, (widths, (kernel, stride, pad, ceil_mode)) in enumerate(VGG, start=1):
        for layer, width in enumerate(widths, start=1):
            x = _conv_relu(net, x, f"conv{block}_{layer}", width, 3)
        if block == 4:
            maps.append(_l2_norm(net, x, "conv4_3_norm"))
        x = net.max_pool(x, f"pool{block}", kernel, stride, pad, ceil_mode)
    x = _conv_relu(net, x, "fc6", 1024, 3, dilation=6)
    x = _conv_relu(net, x, "fc7", 1024, 1)
    maps.append(x)
    for block, (reduced, width, stride, pad) in enumerate(EXTRA, start=8):
        x = _conv_relu(net, x, f"conv{block}_1", reduced, 1)
        x = _conv_relu(net, x, f"conv{block}_2", width, 3, stride=stride, pad=pad)
        maps.append(x)
    return maps


def _conv_relu(
    net: Network,
    x: Tensor,
    name: str,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int | None = None,
    dilation: int = 1,
) -> Tensor:
    x = net.conv(x, name, outputs, kernel, stride=stride, pad=pad, dilation=dilation, bias=BIAS)
    return net.relu(x, f"{name}.relu")


def _l2_norm(net: Network, x: Tensor, name: str) -> Tensor:
    """Each position's channels to length 1, times a learned scale that starts at 20."""
    length = net.node("ReduceL2", [x.name], f"{name}.length", (1, 1, *x.shape[2:]), axes=[1], keepdims=1)
    unit = net.node("Div", [x.name, length.name], f"{name}.unit", x.shape)
    scale = net.constant(f"{name}.scale", np.full((1, x.shape[1], 1, 1), 20, np.float32))
    return net.node("Mul", [unit.name, scale], name, x.shape)


def _heads(net: Network, maps: Sequence[Tensor], name: str, numbers: int) -> list[Tensor]:
    """For each map a 3x3 convolution to `numbers` for each box, boxes along the second axis."""
    found = []
    for index, (x, boxes) in enumerate(zip(maps, BOXES, strict=True)):
        height, width = x.shape[2:]
        head = net.conv(x, f"{name}{index}", boxes * numbers, 3, gain=1.0, bias=BIAS)
        last = net.node(
            "Transpose", [head.name], f"{name}{index}.last", (1, height, width, boxes * numbers), perm=[0, 2, 3, 1]
        )
        shape = net.constant(f"{name}{index}.shape", np.array([1, -1, numbers], np.int64))
        found.append(
            net.node("Reshape", [last.name, shape], f"{name}{index}.boxes", (1, height * width * boxes, numbers))
        )
    return found
