"""UNet with the channel counts as published (Ronneberger et al., 2015), padded so that the map keeps its size."""

from __future__ import annotations

import numpy as np
import onnx

from benchmarks.networks.drawing import Network, Tensor

WIDTHS = (64, 128, 256, 512, 1024)
CLASSES = 2
BIAS = 0.05


def unet(size: int = 512) -> onnx.ModelProto:
    """1x1x512x512 to 2 classes at each position; 31.0 M parameters, 193 GMAC. `size` is a multiple of 16."""
    net, image = Network(np.random.default_rng(1505)), Tensor("image", (1, 1, size, size))
    x, skipped = image, []
    for level, width in enumerate(WIDTHS):
        if level:
            x = net.max_pool(x, f"down{level}.pool", kernel=2, stride=2)
        x = _two_convs(net, x, f"down{level}", width)
        skipped.append(x)
    for level, skip in reversed(list(enumerate(skipped[:-1]))):
        x = net.concat([skip, _up_conv(net, x, f"up{level}.up")], f"up{level}.concat")
        x = _two_convs(net, x, f"up{level}", WIDTHS[level])
    return net.finish("unet", image, [net.conv(x, "classes", CLASSES, 1, gain=1.0, bias=BIAS)])


def _two_convs(net: Network, x: Tensor, name: str, width: int) -> Tensor:
    for index in (1, 2):
        x = net.conv(x, f"{name}.conv{index}", width, 3, bias=BIAS)
        x = net.relu(x, f"{name}.relu{index}")
    return x


def _up_conv(net: Network, x: Tensor, name: str) -> Tensor:
    """Twice the size and half the channels, by a transposed convolution of 2x2 and stride 2."""
    inputs, (height, width) = x.shape[1], x.shape[2:]
    weight = net.normal(f"{name}.weight", (inputs, inputs // 2, 2, 2), inputs**-0.5)
    bias = net.normal(f"{name}.bias", (inputs // 2,), BIAS)
    shape = (1, inputs // 2, 2 * height, 2 * width)
    return net.node("ConvTranspose", [x.name, weight, bias], name, shape, kernel_shape=[2, 2], strides=[2, 2])
