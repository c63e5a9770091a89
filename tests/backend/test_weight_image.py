"""Weight streams, against strings of bits, and the report of what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfpc.backend.weight_image import WeightImage, pack_weights, unpack_weights
from bfpc.backend.weight_stream import LayerParameters, ParameterLayout, pack_layers, unpack_layers
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.ir.operators import Table, Tail
from bfpc.numerics.format import BfpFormat
from tests.backend.graphs import ARCHITECTURE, Draft, conv_layer, graph_of, small_network
from tests.backend.layer_kinds import layer_of
from tests.backend.reference_bits import dense_tile, depthwise_tile, field, shared_tile, words
from tests.backend.strategies import formats, random_tensor, seeds

C_VEC, K_VEC = 64, 32
BIAS_BITS = 24
channel_counts = st.integers(1, 70)
kernels = st.tuples(st.integers(1, 3), st.integers(1, 2))


def _parameters(format: BfpFormat, shape: tuple[int, ...], offsets: tuple[int, ...], seed: int) -> LayerParameters:
    rng = np.random.default_rng(seed)
    bias = rng.integers(-(1 << 23), 1 << 23, shape[0]) if seed % 2 else None
    slope = rng.integers(-(1 << 15), 1 << 15, shape[0]) if seed % 3 else None
    return LayerParameters(shape[0], random_tensor(format, shape, offsets, seed), bias, slope)


def _layout(parameters: LayerParameters, *, dense: bool) -> ParameterLayout:
    weight = parameters.weight
    assert weight is not None
    outputs, inputs, height, width = weight.mantissas.shape
    bias_bits = 0 if parameters.bias is None else BIAS_BITS
    has_slope = parameters.slope is not None
    shape = (outputs, inputs, height, width)
    return ParameterLayout(outputs, weight.format, shape, dense, bias_bits, has_slope, C_VEC, K_VEC)


def _listed(array: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None) -> list[int]:
    return [] if array is None else [int(value) for value in array]


def _assert_equal(actual: LayerParameters, expected: LayerParameters) -> None:
    assert actual.weight is not None
    assert expected.weight is not None
    assert np.array_equal(actual.weight.mantissas, expected.weight.mantissas)
    assert np.array_equal(actual.weight.offsets, expected.weight.offsets)
    assert _listed(actual.bias) == _listed(expected.bias)
    assert _listed(actual.slope) == _listed(expected.slope)


@settings(max_examples=30)
@given(formats(signed=True), channel_counts, channel_counts, kernels, seeds)
def test_dense_stream(format: BfpFormat, outputs: int, inputs: int, kernel: tuple[int, int], seed: int) -> None:
    shape = (outputs, inputs, *kernel)
    parameters = _parameters(format, shape, (outputs, -(-inputs // format.block_size), *kernel), seed)
    layout = _layout(parameters, dense=True)
    weight, bias, slope = parameters.weight, _listed(parameters.bias), _listed(parameters.slope)
    assert weight is not None
    tiles = [dense_tile(weight, bias, BIAS_BITS, slope, tile, C_VEC) for tile in layout.tiles]
    stream = pack_layers((parameters, layout))
    assert [int(word) for word in stream] == words("".join(tiles))
    assert [len(tile) for tile in tiles] == [len(tile) * layout.channel_bits for tile in layout.tiles]
    assert stream.size == layout.words
    _assert_equal(unpack_layers(stream, layout)[0], parameters)


@settings(max_examples=30)
@given(formats(signed=True), channel_counts, kernels, seeds)
def test_depthwise_stream(format: BfpFormat, channels: int, kernel: tuple[int, int], seed: int) -> None:
    parameters = _parameters(format, (channels, 1, *kernel), (channels,), seed)
    layout = _layout(parameters, dense=False)
    weight, bias, slope = parameters.weight, _listed(parameters.bias), _listed(parameters.slope)
    assert weight is not None
    tiles = [depthwise_tile(weight, bias, BIAS_BITS, slope, tile) for tile in layout.tiles]
    stream = pack_layers((parameters, layout))
    assert [int(word) for word in stream] == words("".join(tiles))
    _assert_equal(unpack_layers(stream, layout)[0], parameters)


@settings(max_examples=30)
@given(formats(signed=True), formats(signed=True), channel_counts, channel_counts, kernels, seeds, seeds)
def test_stream_that_layers_share(
    format: BfpFormat,
    behind_format: BfpFormat,
    outputs: int,
    inputs: int,
    kernel: tuple[int, int],
    seed: int,
    behind_seed: int,
) -> None:
    shape = (outputs, inputs, *kernel)
    dense = _parameters(format, shape, (outputs, -(-inputs // format.block_size), *kernel), seed)
    behind = _parameters(behind_format, (outputs, 1, *kernel), (outputs,), behind_seed)
    layout, behind_layout = _layout(dense, dense=True), _layout(behind, dense=False)
    assert dense.weight is not None
    assert behind.weight is not None
    of_dense = dense.weight, _listed(dense.bias), _listed(dense.slope)
    of_behind = behind.weight, _listed(behind.bias), _listed(behind.slope)
    tiles = [shared_tile(of_behind, of_dense, BIAS_BITS, tile, C_VEC) for tile in layout.tiles]
    stream = pack_layers((behind, behind_layout), (dense, layout))
    assert [int(word) for word in stream] == words("".join(tiles))
    for found, expected in zip(unpack_layers(stream, behind_layout, layout), (behind, dense), strict=True):
        _assert_equal(found, expected)


def test_layers_start_on_words_and_follow_each_other() -> None:
    graph = small_network()
    image = pack_weights(graph, ARCHITECTURE)
    address = 0
    for layer in image.layers.values():
        assert layer.address == address
        address += layer.words
    assert image.words.size == address
    _assert_unpacked(graph, image)


@pytest.mark.parametrize("kind", ["streamed", "streamed, strided", "streamed, few positions"])
def test_layers_that_run_together_share_a_stream(kind: str) -> None:
    graph = layer_of(kind)
    image = pack_weights(graph, ARCHITECTURE)
    first, behind = (image.layers[name] for name in ("map", "layer"))
    assert (first.address, first.words) == (behind.address, behind.words) == (0, image.words.size)
    _assert_unpacked(graph, image)


def _assert_unpacked(graph: Graph, image: WeightImage) -> None:
    for name, back in unpack_weights(image.words, image.layers).items():
        node = graph.producer(name)
        assert node is not None
        if "weight" in node.inputs:
            weight, bias = graph.constants[node.inputs["weight"]], graph.array(node.inputs["bias"])
            _assert_equal(back, LayerParameters(back.channels, weight, bias.astype(np.int64)))  # type: ignore[arg-type]


def test_tables_follow_the_streams_and_equal_ones_lie_once() -> None:
    draft, tail = Draft(), Tail(Table((("tanh",),)))
    image = draft.input("image", (16, 4, 4))
    names = [draft.conv(name, image, 16, tail=tail) for name in ("one", "same", "other")]
    draft.constants["same.table"] = draft.constants["one.table"]
    graph = draft.graph(draft.conv("plain", image, 16), *names)
    packed = pack_weights(graph, ARCHITECTURE)
    streams = sum(layer.words for layer in packed.layers.values())
    addresses = [packed.layers[name].table_address for name in (*names, "plain")]
    assert addresses == [streams, streams, streams + 1024, None]
    assert packed.words.size == streams + 2 * 1024
    assert packed.bits_per_weight == streams * 64 / packed.weights
    entries = [int(entry) for entry in graph.array("other.table")]
    assert [int(word) for word in packed.words[-1024:]] == words("".join(field(entry, 16) for entry in entries))
    for name, back in unpack_weights(packed.words, packed.layers).items():
        assert (back.table is None) == (name == "plain")
        assert back.table is None or np.array_equal(back.table, graph.array(f"{name}.table"))


def test_bits_per_weight_stay_within_5_percent_of_mantissa_and_exponent_share() -> None:
    graph = graph_of(conv_layer("conv", "image", inputs=256, outputs=256, size=8, weight=BfpFormat(4, 16, 3)))
    image = pack_weights(graph, ARCHITECTURE)
    assert image.ideal_bits_per_weight == pytest.approx(4 + 2 / 16)
    biases = 256 * 24 / image.weights
    assert image.bits_per_weight <= 1.05 * image.ideal_bits_per_weight + biases


def test_bias_takes_the_fewest_bytes() -> None:
    graph = graph_of(conv_layer("conv", "image", inputs=16, outputs=16, size=4, bias=-129))
    assert pack_weights(graph, ARCHITECTURE).layers["conv"].layout.bias_bits == 16


def test_slope_beyond_16_bits_is_refused() -> None:
    graph = graph_of(conv_layer("conv", "image", inputs=16, outputs=16, size=4, slope=200 * 256))
    with pytest.raises(CapacityError, match="slope of 200"):
        pack_weights(graph, ARCHITECTURE)
