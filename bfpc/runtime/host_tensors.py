"""What the host computes for the accelerator, as calibration data: taken from the original network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx

from bfpc.data import Array, InputData
from bfpc.errors import BuildError
from bfpc.ir.graph import Graph, Port
from bfpc.ir.layout import onnx_shape
from bfpc.runtime.host_model import open_host_model
from bfpc.runtime.signature import Signature, take_batch


def add_host_tensors(data: InputData, model: onnx.ModelProto, signature: Signature, graph: Graph) -> InputData:
    """The data with the inputs of `graph` that the host makes, for each image.

    Random numbers, and a warning, where onnxruntime cannot run the model.
    """
    ports = [port for port in graph.inputs if port.name not in data.arrays]
    if not ports:
        return data
    try:
        made = _run(data, model, signature, ports)
    except BuildError as error:
        warning = f"{error.what}; {', '.join(port.name for port in ports)}: calibrated on random numbers"
        random = random_tensors(graph, ports, len(data))
        return replace(data, arrays={**data.arrays, **random}, warnings=(*data.warnings, warning))
    return replace(data, arrays={**data.arrays, **made})


def _run(data: InputData, model: onnx.ModelProto, signature: Signature, ports: Sequence[Port]) -> dict[str, Array]:
    """The tensors of `ports` in the original network; the batch is their first axis."""
    outputs = [onnx.ValueInfoProto(name=port.name) for port in ports]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(outputs)
    session = open_host_model(watched.SerializeToString(), (), "the model")
    batches = [session.run(take_batch(signature, data.arrays, start)) for start in range(0, len(data), signature.batch)]
    return {port.name: np.concatenate([made[port.name] for made in batches])[: len(data)] for port in ports}


def random_tensors(graph: Graph, ports: Sequence[Port], images: int) -> dict[str, Array]:
    """Normally distributed numbers for inputs of the graph, the same ones every time."""
    random = np.random.default_rng(0)
    shapes = {port.name: onnx_shape(port.axes, port.map_shape(graph.value(port.value))) for port in ports}
    return {name: random.standard_normal((images, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}
