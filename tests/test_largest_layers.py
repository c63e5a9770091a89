"""The largest windows, filters and strides that are promised: some tile of theirs fits, whatever map and format.

Only shapes go through the passes and the choice of tiles; no numbers are computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pytest

from bfpc.backend.architecture import Architecture, depthwise_window
from bfpc.backend.layer_work import streamed
from bfpc.backend.schedule import layer_work
from bfpc.backend.tiling import fitting_tiles
from bfpc.backend.weight_image import LayerImage
from bfpc.backend.weight_stream import ParameterLayout
from bfpc.config import Config, load_config
from bfpc.ir.graph import Graph, Node, Port, Value
from bfpc.ir.operators import Conv, Operator, Pool, Window
from bfpc.ir.shapes import output_shape
from bfpc.passes.assign_formats import assign_formats
from bfpc.pipeline import Dump, float_passes, run_passes, streaming

Options = Mapping[str, Any]  # of a convolution
AXES = ("N", "C", "H", "W")
FORMATS = (("int8", 8), ("int8", 16), ("int54", 32), ("int4", 64))
CHANNELS = (3, 16, 48, 64, 512)
SIZES = ((30, 30), (33, 600))
POOLS = (
    Window("max", (13, 13)),
    Window("max", (13, 13), (15, 15), (6, 6, 6, 6)),
    Window("max", (13, 1), (1, 15)),
    Window("average", (27, 27)),
    Window("average", (27, 27), (1, 1), (13, 13, 13, 13)),
    Window("average", (27, 27), (2, 2), (13, 13, 13, 13), count_padding=True),
    Window("average", (27, 27), (15, 15)),
    Window("average", (27, 1), (3, 1), (20, 0, 20, 0)),
    Window("average", (30, 30), (30, 30)),
)
FILTERS: tuple[Options, ...] = (
    {"kernel": (28, 28)},
    {"kernel": (28, 28), "stride": (15, 15), "pads": (14, 14, 14, 14)},
    {"kernel": (1, 1), "stride": (15, 15)},
    {"kernel": (7, 7), "dilation": (4, 4)},
    {"kernel": (28, 28), "input_dilation": (2, 2)},
    # Depthwise filters of these run behind the layer before them, where the buffers allow it.
    {"kernel": (7, 7), "stride": (7, 7), "pads": (3, 3, 3, 3)},
    {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    {"kernel": (3, 3), "stride": (15, 15)},
)


def preset(name: str, block_size: int) -> Config:
    document = load_config(name).model_dump(mode="json", exclude_unset=True)
    for kind in ("activation", "weight"):
        document["formats"][kind]["block_size"] = block_size
    return Config.model_validate(document)


def network(op: Operator, channels: int, size: tuple[int, int]) -> Graph:
    """A convolution of one tap between the input and `op`, which cannot be folded then."""
    x, a = Value("x", (channels, *size)), Value("a", (channels, *size))
    constants = {"one": np.full((channels, channels, 1, 1), 0.5, np.float32)}
    inputs = {"x": "a"}
    if isinstance(op, Conv):
        outputs = channels if op.groups == channels else 40
        shape = (outputs, channels // op.groups, *op.kernel)
        constants["weight"] = np.broadcast_to(np.zeros((), np.float32), shape)
        inputs["weight"] = "weight"
    shapes = {"x": a.shape, **{role: constants[name].shape for role, name in inputs.items() if role == "weight"}}
    nodes = (Node(Conv((1, 1)), {"x": "x", "weight": "one"}, a), Node(op, inputs, Value("y", output_shape(op, shapes))))
    return Graph("test", (x,), nodes, constants, (Port("x", "x", AXES),), (Port("y", "y", AXES),)).check()


def assert_has_tiles(op: Operator, channels: int, size: tuple[int, int], config: Config) -> None:
    """That every layer made of `op` has a tile that fits: CapacityError is raised otherwise."""
    array = config.array_size
    graph = run_passes(network(op, channels, size), float_passes(config), Dump(None))
    window = depthwise_window(graph, config.architecture.depthwise_window)
    architecture = Architecture(array.c_vec, array.k_vec, 8, 12, 12, 13, 12, 12, 48, 12, depthwise_window=window)
    graph = streaming(config)(assign_formats(graph, config, defaultdict(lambda: 1.0)))
    for run in graph.runs:
        images = [LayerImage(0, 0, _without_weights(node, config), None) for node in run]
        works = (layer_work(graph, node, architecture, image) for node, image in zip(run, images, strict=True))
        fitting_tiles(reduce(streamed, works))


def _without_weights(node: Node, config: Config) -> ParameterLayout:
    array = config.array_size
    return ParameterLayout(node.output.shape[0], None, None, isinstance(node.op, Conv), 0, False, *array)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "block_size"), FORMATS)
def test_every_pool_has_a_tile_that_fits(name: str, block_size: int, size: tuple[int, int]) -> None:
    for channels in CHANNELS:
        for window in POOLS:
            assert_has_tiles(Pool(window), channels, size, preset(name, block_size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "block_size"), FORMATS)
def test_every_filter_has_a_tile_that_fits(name: str, block_size: int, size: tuple[int, int]) -> None:
    for channels in CHANNELS:
        for options in FILTERS:
            for groups in (1, channels):
                assert_has_tiles(Conv(**options, groups=groups), channels, size, preset(name, block_size))
