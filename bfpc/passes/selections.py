"""One-tap convolutions that only choose channels: their weights are rows of the unit matrix, or zeros."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Constant, Node
from bfpc.ir.operators import Conv

NOTHING = -1  # the channel that gives zeros


def selection(channels: NDArray[np.integer], inputs: int) -> NDArray[np.float32]:
    """Weights [len(channels), inputs, 1, 1] that hand the given channels on; a channel outside the map gives zero."""
    ones: NDArray[np.float32] = (channels[:, None] == np.arange(inputs)).astype(np.float32)
    return ones[:, :, None, None]


def selected_channels(constants: Mapping[str, Constant], node: Node) -> NDArray[np.integer] | None:
    """The channel that each output of a selection hands on, or NOTHING; None where a node is no selection."""
    if node.op != Conv((1, 1)) or node.inputs.keys() != {"x", "weight"}:
        return None
    weight = constants[node.inputs["weight"]]
    assert isinstance(weight, np.ndarray), f"{node.name} is quantized"
    rows = weight.reshape(len(weight), -1)
    if not ((rows == 0) | (rows == 1)).all() or (rows.sum(axis=1) > 1).any():
        return None
    return np.where(rows.any(axis=1), rows.argmax(axis=1), NOTHING)
