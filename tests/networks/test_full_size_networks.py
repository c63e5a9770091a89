"""The full-size networks of the benchmarks."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.networks import resnet50, synthetic_pictures
from bfpc.frontend.reader import read_model
from bfpc.ir.operators import Conv


def test_resnet50_is_the_published_graph_with_activations_of_a_trained_scale(tmp_path: Path) -> None:
    model = resnet50()
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts["Conv"], counts["BatchNormalization"], counts["Add"]) == (53, 53, 16)

    onnx.save(model, tmp_path / "resnet50.onnx")
    graph = read_model(tmp_path / "resnet50.onnx").graph
    convolutions = [node for node in graph.nodes if isinstance(node.op, Conv)]
    macs = sum(graph.array(node.inputs["weight"]).size * int(np.prod(node.output.shape[1:])) for node in convolutions)
    assert 4.08e9 < macs < 4.10e9

    picture = synthetic_pictures(np.random.default_rng(0), 1, 224)
    (logits,) = ort.InferenceSession(model.SerializeToString()).run(None, {"image": picture})
    assert 0.5 < float(np.std(logits)) < 5
