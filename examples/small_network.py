"""Writes model.onnx, pictures.npy and labels.npy to try the other examples on: a small network, and 64 pictures.

The weights are random, and the labels are what the network itself says, so that only quantization errs.

python examples/small_network.py
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE, CLASSES, PICTURES = (3, 16, 32), 16, 10, 64


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    nodes, weights, x = [], {}, "image"
    for index, (before, after) in enumerate(pairwise(CHANNELS)):
        weights[f"weight{index}"] = random.normal(0, (9 * before) ** -0.5, (after, before, 3, 3))
        nodes.append(helper.make_node("Conv", [x, f"weight{index}"], [f"conv{index}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]))
        x = f"relu{index}"
    weights["classifier"] = random.normal(0, 1, (CHANNELS[-1], CLASSES))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "classifier"], ["scores"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "small", [image], [scores], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")

    pictures = random.normal(0, 1, (PICTURES, 3, SIZE, SIZE)).astype(np.float32)
    network = onnxruntime.InferenceSession(folder / "model.onnx")
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "labels.npy", network.run(None, {"image": pictures})[0].argmax(axis=1))


if __name__ == "__main__":
    main(Path())
