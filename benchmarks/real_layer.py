"""A trained layer's numbers, for the pictures of docs/block_floating_point.md: `python -m benchmarks.real_layer`.

Of the ResNet-50 of half width: what is left of a 3x3 convolution's weights at each width, and how large the blocks of a
map are. Writes docs/pictures/measured.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from benchmarks.builds import TRAINED, model, photos
from bfpc.data import preprocess
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.quantize import dequantize, quantize

MEASURED = Path(__file__).parents[1] / "docs" / "pictures" / "measured.json"
NETWORK, LAYER, MAP = "opennsfw", "bn_stage2_block1_branch2b/FusedBatchNormV3:0", "Relu_48:0"
BLOCK, WIDTHS, IMAGES = 16, range(3, 10), 8

Floats = NDArray[np.float32]


def measure() -> dict[str, Any]:
    network = onnx.load(model(NETWORK))
    weights, maps = _weights(network, LAYER), _maps(network, MAP)
    return {
        "weights": {"layer": LAYER, "shape": weights.shape, "sqnr_db": list(_widths(weights))},
        "map": {"name": MAP, "images": IMAGES, "shape": maps.shape[1:], "block_tops": _block_tops(maps)},
    }


def _weights(network: onnx.ModelProto, layer: str) -> Floats:
    (name,) = (node.input[1] for node in network.graph.node if node.output[0] == layer)
    return next(numpy_helper.to_array(tensor) for tensor in network.graph.initializer if tensor.name == name)


def _maps(network: onnx.ModelProto, name: str) -> Floats:
    """[images, channels, height, width] of an inner map."""
    network.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    settings, feed = TRAINED[NETWORK].preprocessing, session.get_inputs()[0].name
    pictures = [
        preprocess(Image.open(path), (3, 224, 224), settings).transpose(1, 2, 0)[None]
        for path in sorted(photos(IMAGES)[0].iterdir())
    ]
    return np.concatenate([session.run([name], {feed: picture.astype(np.float32)})[0] for picture in pictures])


def _widths(weights: Floats) -> Iterator[dict[str, Any]]:
    """SQNR of the weights with one scale for all, one for each output channel, and an exponent for each block."""
    for bits in WIDTHS:
        scaled = {"one scale for the tensor": None, "one scale per output channel": (1, 2, 3)}
        for sharing, axes in scaled.items():
            step = np.abs(weights).max(axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
            yield {"bits": bits, "shared": sharing, "sqnr_db": _sqnr_db(weights, np.rint(weights / step) * step)}
        blocks = weights.reshape(*weights.shape[:2], -1, 1)
        top = int(np.ceil(np.log2(np.abs(weights).max())))
        format = BfpFormat(bits, BLOCK, exponent_range=7).with_top(top)
        stored = dequantize(*quantize(blocks, format), format)
        yield {"bits": bits, "shared": f"one exponent per block of {BLOCK}", "sqnr_db": _sqnr_db(blocks, stored)}


def _sqnr_db(x: Floats, stored: Floats) -> float:
    return round(float(10 * np.log10(np.square(x).sum() / np.square(x - stored).sum())), 2)


def _block_tops(maps: Floats) -> Mapping[str, float]:
    """How many of the blocks, in percent, have their largest element below which power of two; "0" are all zero."""
    images, channels, height, width = maps.shape
    largest = np.abs(maps).reshape(images, channels // BLOCK, BLOCK, height, width).max(axis=2).ravel()
    tops = np.ceil(np.log2(largest[largest > 0])).astype(int)
    values, counts = np.unique(tops, return_counts=True)
    shares = {str(top): round(float(100 * count / largest.size), 3) for top, count in zip(values, counts, strict=True)}
    return shares | {"zero": round(100 * float(np.mean(largest == 0)), 3)}


if __name__ == "__main__":
    MEASURED.write_text(json.dumps(measure(), indent=1) + "\n")
