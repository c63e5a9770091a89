"""What the steps share: the channel counts they draw, and attributes as ONNX takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.networks.onnx_writer import OnnxWriter, Tensor

CHANNELS = (1, 2, 3, 4, 5, 8, 11, 16, 17, 24, 33)
MOST_POSITIONS, MOST_CHANNELS = 300, 64  # of maps that are made larger
Step = Callable[[OnnxWriter, Tensor], Tensor]


def lists(attributes: Mapping[str, NDArray[np.integer]]) -> dict[str, Any]:
    return {name: [int(value) for value in values] for name, values in attributes.items()}


def channel_count(net: OnnxWriter) -> int:
    return int(net.rng.choice(CHANNELS))


def one_by_one(net: OnnxWriter, x: Tensor, outputs: int, scale: float = 1.0) -> Tensor:
    """A 1x1 convolution."""
    weight = net.normal(outputs, x.shape[1], 1, 1, scale=scale * x.shape[1] ** -0.5)
    return net.node("Conv", [x.name, weight], (1, outputs, *x.shape[2:]))
