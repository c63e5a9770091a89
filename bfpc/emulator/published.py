"""Runs a graph of float layers in the arithmetic that was published for int5/4bfp (Abra et al., ICFPT 2021).

    %y = Conv(%x, w)    ->    %y = FP16(Conv(BFP(%x), BFP(w)))    and    %y = FP16(Depthwise(%x, w))

It is there to be compared with the exact arithmetic, and has no hardware. `published_quantizer` holds the format; the
description leaves the following open:

- Every map is stored in FP16, the network's inputs and outputs among them. A convolution converts its input on the way
  in; residuals, pools, joined maps and depthwise layers read FP16.
- The products of a convolution are added in float32, in whatever order onnxruntime takes. Bias, residual, activation
  and pool follow in float32, before the sum becomes FP16.
- The first layer truncates where the host folds its input (see `passes.fold_input`); its blocks run along the folded
  channels, and elsewhere along the channels of the compiler's layers.
- A layer that the compiler divides for the buffers stores what passes between its parts in FP16, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from bfpc.config import Config
from bfpc.emulator.array import lower_array
from bfpc.emulator.lowering import Lowered, lower_nodes
from bfpc.emulator.onnx_builder import OnnxBuilder, Tensor, float_tensor
from bfpc.emulator.published_quantizer import PublishedFormat, lower_float16, lower_published, published_weights
from bfpc.emulator.session import Maps, open_session
from bfpc.emulator.tail import lower_tail
from bfpc.errors import ConfigError
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Conv, Layer
from bfpc.ir.shapes import array_size


@dataclass(frozen=True)
class PublishedFormats:
    """The formats of what every convolution multiplies."""

    activation: PublishedFormat
    weight: PublishedFormat


def published_formats(config: Config) -> PublishedFormats:
    """Raises ConfigError where the config gives some layers or the input a format of their own."""
    own = "overrides:" if config.overrides else "formats: input:" if config.formats.input.model_fields_set else ""
    if own:
        fix = f"remove {own}, or give arithmetic: exact"
        raise ConfigError("the published arithmetic has one format for all layers", where=own, fix=fix)
    return PublishedFormats(PublishedFormat.of(config.formats.activation), PublishedFormat.of(config.formats.weight))


def published_runner(
    graph: Graph, config: Config, names: Sequence[str]
) -> Callable[[Mapping[str, Maps]], dict[str, Maps]]:
    """A graph of float layers made ready to run.

    names: the values wanted. The function takes the network's input maps and gives those values, by their names, all
    real numbers [batch, channels, height, width]. Raises ConfigError as `published_formats`.
    """
    session = open_session(lower_graph(graph, published_formats(config), names).SerializeToString())
    outputs = [f"{name}:out" for name in names]

    def run(maps: Mapping[str, Maps]) -> dict[str, Maps]:
        feeds = {f"{value.name}:in": maps[value.name] for value in graph.values}
        return dict(zip(names, session.run(outputs, feeds), strict=True))

    return run


def lower_graph(graph: Graph, formats: PublishedFormats, outputs: Sequence[str]) -> onnx.ModelProto:
    """The ONNX model that computes the values `outputs`, with ":out" appended, from the input maps with ":in"."""
    builder = OnnxBuilder()
    graph = _with_published_weights(graph, formats.weight)
    stored = {value.name: Lowered(lower_float16(builder, Tensor(f"{value.name}:in"))) for value in graph.values}
    for node in graph.nodes:
        if isinstance(node.op, Layer):
            result = _lower_layer(builder, graph, node, stored, formats.activation)
            stored[node.name] = Lowered(lower_float16(builder, result))
        else:
            lower_nodes(builder, graph, [node], stored, block=1)
    for name in outputs:
        builder.call("Identity", stored[name].tensor, output=f"{name}:out")
    inputs = [float_tensor(f"{value.name}:in", ("N", *value.shape)) for value in graph.values]
    results = [float_tensor(f"{name}:out", ("N", *graph.value(name).shape)) for name in outputs]
    return builder.model(graph.name, inputs, results)


def _with_published_weights(graph: Graph, format: PublishedFormat) -> Graph:
    dense = {node.inputs["weight"] for node in graph.nodes if isinstance(node.op, Conv)}
    rounded = {name: published_weights(graph.array(name), format) for name in dense}
    return replace(graph, constants={**graph.constants, **rounded})


def _lower_layer(
    builder: OnnxBuilder, graph: Graph, node: Node, stored: Mapping[str, Lowered], format: PublishedFormat
) -> Tensor:
    """A layer's sums and tail in float32, from the maps in FP16."""
    name = node.inputs["x"]
    x, (channels, height, width) = stored[name].tensor, graph.value(name).shape
    if isinstance(node.op, Conv):
        folded = any(port.value == name and port.fold is not None for port in graph.inputs)
        x = lower_published(builder, x, (channels, height, width), format, truncate=folded)
    shape = (node.output.shape[0], *array_size(node.layer, (height, width)))
    sums = lower_array(builder, graph, node, x, channels, shape)
    residual = stored[node.inputs["residual"]].tensor if "residual" in node.inputs else None
    return lower_tail(builder, graph, node, sums, residual, shape)
