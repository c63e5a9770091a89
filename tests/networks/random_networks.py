"""Small random ONNX networks over every operator the frontend reads, of odd shapes, reproducible from a seed.

python -m tests.networks.random_networks 7 network.onnx
"""

import sys

import numpy as np
import onnx

from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.steps import convolutions, elementwise, heads, host, pooling, structure
from tests.networks.steps.drawing import CHANNELS, Step

OPSETS = (7, 9, 10, 11, 13, 17, 18, 21, 23, 24)


def random_network(seed: int, *, with_host: bool = False) -> onnx.ModelProto:
    """A network of 4 to 10 steps on maps [N, C, H, W], with one to three outputs.

    with_host: one or two of the steps between are of those that the accelerator leaves to the host.
    """
    rng = np.random.default_rng(seed)
    net = OnnxWriter(rng, opset=int(rng.choice(OPSETS)))
    x = _input(net)
    outputs = []
    for step in _steps(rng, with_host):
        x = step(net, x)
        if rng.random() < 0.1 and any(node.op_type == "Conv" for node in net.nodes):
            outputs.append(x)
    x = HEADS[rng.integers(len(HEADS))](net, convolutions.conv(net, x))
    distinct = {tensor.name: tensor for tensor in [*outputs[:2], x]}
    return net.finish(f"random{seed}", list(distinct.values()), batch="batch" if rng.random() < 0.3 else 1)


def _steps(rng: np.random.Generator, with_host: bool) -> list[Step]:
    drawn = [STEPS[index] for index in rng.permutation(np.repeat(np.arange(len(STEPS)), 2))[: rng.integers(4, 11)]]
    if with_host:
        drawn.insert(0, convolutions.conv)
        for _ in range(rng.integers(1, 3)):
            drawn.insert(rng.integers(1, len(drawn) + 1), HOST_STEPS[rng.integers(len(HOST_STEPS))])
    return drawn


def _input(net: OnnxWriter) -> Tensor:
    channels, height, width = int(net.rng.choice(CHANNELS)), *(int(size) for size in net.rng.integers(1, 14, 2))
    if net.rng.random() < 0.7:
        return net.input(1, channels, height, width)
    x = net.input(1, height, width, channels)
    if net.rng.random() < 0.5:
        x = net.node("Sub", [x.name, net.normal(channels)], x.shape)
    return net.node("Transpose", [x.name], (1, channels, height, width), perm=[0, 3, 1, 2])


STEPS: tuple[Step, ...] = (
    *(convolutions.conv, convolutions.conv, convolutions.conv_same, convolutions.depthwise, convolutions.large_conv),
    *(convolutions.conv_transpose, convolutions.conv_1d, convolutions.residual),
    *(elementwise.batch_normalization, elementwise.relu, elementwise.clip, elementwise.leaky_relu, elementwise.prelu),
    *(elementwise.arithmetic, elementwise.negate, elementwise.function, elementwise.function, elementwise.gated),
    *(elementwise.positive_function, elementwise.two_maps, elementwise.square, elementwise.squeeze_excite),
    *(elementwise.spatial_gate, elementwise.limited, elementwise.channel_sum, elementwise.repeated),
    *(elementwise.channel_normalization, elementwise.normalization),
    *(pooling.pool, pooling.large_pool),
    *(structure.concat, structure.dense_block, structure.split, structure.gather, structure.channel_shuffle),
    *(structure.pad, structure.slice_map, structure.resize_nearest, structure.resize_linear, structure.resize_aligned),
    *(structure.depth_to_space, structure.space_to_depth, structure.relayout),
)
HOST_STEPS: tuple[Step, ...] = (
    host.softmax_over_space,
    host.softmax_over_channels,
    host.sines,
    host.rounded,
)
HEADS: tuple[Step, ...] = (heads.head_map, heads.head_gemm, heads.head_global, heads.head_channels_last)

if __name__ == "__main__":
    onnx.save(random_network(int(sys.argv[1])), sys.argv[2])
