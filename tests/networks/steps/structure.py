"""Steps that move numbers: joins, parts, borders, layouts and sizes."""

from __future__ import annotations

import numpy as np

from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.steps.drawing import MOST_CHANNELS, MOST_POSITIONS, channel_count, one_by_one

# -- channels ----------------------------------------------------------------------------------------------------------


def concat(net: OnnxWriter, x: Tensor) -> Tensor:
    """Two branches, or a branch and x itself."""
    outputs = [channel_count(net) for _ in range(2)]
    weights = [net.normal(count, x.shape[1], 1, 1, scale=x.shape[1] ** -0.5) for count in outputs]
    branches = [
        net.node("Conv", [x.name, weight], (1, count, *x.shape[2:]))
        for weight, count in zip(weights, outputs, strict=True)
    ]
    if net.rng.random() < 0.4:
        branches[net.rng.integers(2)] = x
    shape = (1, sum(branch.shape[1] for branch in branches), *x.shape[2:])
    return net.node("Concat", [branch.name for branch in branches], shape, axis=int(net.rng.choice([1, -3])))


def dense_block(net: OnnxWriter, x: Tensor) -> Tensor:
    """Each layer reads all before it."""
    for _ in range(int(net.rng.integers(2, 4))):
        grown = net.node("Relu", [(y := one_by_one(net, x, channel_count(net))).name], y.shape)
        x = net.node("Concat", [x.name, grown.name], (1, x.shape[1] + grown.shape[1], *x.shape[2:]), axis=1)
    return x


def split(net: OnnxWriter, x: Tensor) -> Tensor:
    """Two parts of the channels; they swap sides, or one is added to a branch of the other."""
    channels, size = x.shape[1], x.shape[2:]
    if channels < 2:
        return x
    first = channels // 2 if channels % 2 == 0 else int(net.rng.integers(1, channels))
    shapes = [(1, first, *size), (1, channels - first, *size)]
    sizes = [first, channels - first]
    if first * 2 == channels and net.rng.random() < 0.5:
        equal = {"num_outputs": 2} if net.opset >= 18 else {}
        left, right = net.parts("Split", [x.name], shapes, axis=1, **equal)
    elif net.opset < 13:
        left, right = net.parts("Split", [x.name], shapes, axis=1, split=sizes)
    else:
        left, right = net.parts("Split", [x.name, net.constant(np.array(sizes, np.int64))], shapes, axis=1)
    if net.rng.random() < 0.5:
        return net.node("Concat", [right.name, left.name], x.shape, axis=1)
    return net.node("Add", [one_by_one(net, left, right.shape[1]).name, right.name], right.shape)


def gather(net: OnnxWriter, x: Tensor) -> Tensor:
    """Some channels, in any order."""
    chosen = net.rng.permutation(x.shape[1])[: net.rng.integers(1, x.shape[1] + 1)]
    indices = net.constant(chosen.astype(np.int64))
    return net.node("Gather", [x.name, indices], (1, len(chosen), *x.shape[2:]), axis=1)


def channel_shuffle(net: OnnxWriter, x: Tensor) -> Tensor:
    channels, height, width = x.shape[1:]
    groups = int(net.rng.choice([g for g in (2, 3, 4, channels) if channels % g == 0]))
    apart = (1, groups, channels // groups, height, width)
    x5 = net.reshape(x, apart)
    swapped = net.node("Transpose", [x5.name], (1, apart[2], groups, height, width), perm=[0, 2, 1, 3, 4])
    return net.reshape(swapped, x.shape)


# -- positions ---------------------------------------------------------------------------------------------------------


def pad(net: OnnxWriter, x: Tensor) -> Tensor:
    """Positions of zeros, of another value, of the edge or of its reflection; sometimes channels of zeros."""
    mode = str(net.rng.choice(["constant", "constant", "reflect", "edge"]))
    most = np.minimum(np.array(x.shape[2:]), 3) if mode == "reflect" else 3
    before, after = np.zeros(4, int), np.zeros(4, int)
    before[2:], after[2:] = net.rng.integers(0, most, 2), net.rng.integers(0, most, 2)
    shape = tuple(int(size) for size in np.array(x.shape) + before + after)
    value = 0.0 if mode != "constant" else float(net.rng.choice([0.0, 0.0, 0.5]))
    if value == 0 and mode == "constant" and net.rng.random() < 0.5:
        before[1], after[1] = net.rng.integers(0, 5, 2)
        shape = (1, int(shape[1] + before[1] + after[1]), *shape[2:])
    pads = [*map(int, before), *map(int, after)]
    if net.opset < 11:
        return net.node("Pad", [x.name], shape, pads=pads, mode=mode, value=value)
    operands = [x.name, net.constant(np.array(pads, np.int64)), net.constant(np.array(value, np.float32))]
    return net.node("Pad", operands if mode == "constant" else operands[:2], shape, mode=mode)


def slice_map(net: OnnxWriter, x: Tensor) -> Tensor:
    """A part of the channels, or every other row and column."""
    if net.rng.random() < 0.5:
        start = int(net.rng.integers(0, x.shape[1]))
        bounds = {"starts": [start], "ends": [2**31 - 1], "axes": [1]}
        return net.with_integers("Slice", x, (1, x.shape[1] - start, *x.shape[2:]), 10, bounds)
    if net.opset < 10:
        return x
    start = int(net.rng.integers(0, min(x.shape[2:])))
    size = (-(-(extent - start) // 2) for extent in x.shape[2:])
    bounds = {"starts": [start, start], "ends": [1000, 1000], "axes": [2, 3], "steps": [2, 2]}
    return net.with_integers("Slice", x, (*x.shape[:2], *size), 10, bounds)


def resize_nearest(net: OnnxWriter, x: Tensor) -> Tensor:
    """Every position several times."""
    factors = net.rng.integers(1, 4, 2)
    if x.shape[2] * x.shape[3] * factors.prod() > MOST_POSITIONS:
        return x
    modes = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")]
    coordinates, rounding = modes[net.rng.integers(len(modes))]
    return net.resize(x, [int(factor) for factor in factors], "nearest", coordinates, nearest_mode=rounding)


def resize_linear(net: OnnxWriter, x: Tensor) -> Tensor:
    """Between positions by their distance, half-pixel or as old opsets know it."""
    factors, (height, width) = net.rng.integers(1, 4, 2), x.shape[2:]
    if height * width * factors.prod() > MOST_POSITIONS:
        return x
    coordinates = str(net.rng.choice(["half_pixel", "asymmetric"]))
    return net.resize(x, [int(factor) for factor in factors], "linear", coordinates)


def resize_aligned(net: OnnxWriter, x: Tensor) -> Tensor:
    """Linear with the corners in place: whole factors of the size, or of the distance between the corners."""
    factors, (height, width) = net.rng.integers(1, 5, 2), x.shape[2:]
    if net.opset < 11 or min(height, width) == 1 or height * width * factors.prod() > MOST_POSITIONS:
        return x
    larger = np.array([height, width]) * factors
    sizes = [int(size) for size in (larger if net.rng.random() < 0.5 else larger - factors + 1)]
    operands = [x.name, net.constant(np.zeros(0, np.float32)), net.constant(np.zeros(0, np.float32))]
    operands += [net.constant(np.array([1, x.shape[1], *sizes], np.int64))]
    mode = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    return net.node("Resize", operands, (*x.shape[:2], *sizes), **mode)


# -- layouts -----------------------------------------------------------------------------------------------------------


def depth_to_space(net: OnnxWriter, x: Tensor) -> Tensor:
    """As an operator, or as exporters write it with Reshape and Transpose."""
    (_, channels, height, width), block = x.shape, int(net.rng.integers(2, 4))
    if height * width * block**2 > MOST_POSITIONS:
        return x
    x = one_by_one(net, x, max(1, channels // block**2) * block**2)
    channels = x.shape[1] // block**2
    shape = (1, channels, height * block, width * block)
    if net.rng.random() < 0.5:
        mode = {"mode": str(net.rng.choice(["DCR", "CRD"]))} if net.opset >= 11 else {}
        return net.node("DepthToSpace", [x.name], shape, blocksize=block, **mode)
    apart = net.reshape(x, (1, channels, block, block, height, width))
    mixed = net.node("Transpose", [apart.name], (1, channels, height, block, width, block), perm=[0, 1, 4, 2, 5, 3])
    return net.reshape(mixed, shape)


def space_to_depth(net: OnnxWriter, x: Tensor) -> Tensor:
    _, channels, height, width = x.shape
    if height % 2 or width % 2 or channels * 4 > MOST_CHANNELS:
        return x
    return net.node("SpaceToDepth", [x.name], (1, channels * 4, height // 2, width // 2), blocksize=2)


def relayout(net: OnnxWriter, x: Tensor) -> Tensor:
    """Channels last and back, with an activation between; or through Identity, Dropout and Unsqueeze / Squeeze."""
    if net.rng.random() < 0.5:
        channels, height, width = x.shape[1:]
        last = net.node("Transpose", [x.name], (1, height, width, channels), perm=[0, 2, 3, 1])
        active = net.node("Relu", [last.name], last.shape)
        return net.node("Transpose", [active.name], x.shape, perm=[0, 3, 1, 2])
    same = net.node("Identity", [x.name], x.shape)
    kept = net.node("Dropout", [same.name], x.shape)
    longer = net.with_integers("Unsqueeze", kept, (*x.shape[:2], 1, *x.shape[2:]), 13, {"axes": [2]})
    return net.with_integers("Squeeze", longer, x.shape, 13, {"axes": [2]})
