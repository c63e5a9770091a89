"""Steps on each number of a map, and on two maps."""

from __future__ import annotations

import numpy as np

from tests.networks.onnx_writer import OnnxWriter, Tensor
from tests.networks.steps.drawing import one_by_one

EPSILON = 1e-2


def batch_normalization(net: OnnxWriter, x: Tensor) -> Tensor:
    channels = x.shape[1]
    statistics = [net.uniform(0.5, 1.5, channels), net.normal(channels), net.normal(channels)]
    inputs = [x.name, *statistics, net.uniform(0.5, 1.5, channels)]
    return net.node("BatchNormalization", inputs, x.shape, epsilon=1e-3)


def relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Relu", [x.name], x.shape)


def clip(net: OnnxWriter, x: Tensor) -> Tensor:
    """With a lower bound, an upper bound, or both."""
    low, high = [(0.0, 6.0), (-1.0, 1.0), (-0.5, None), (None, 0.75)][net.rng.integers(4)]
    given = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    if net.opset < 11:
        return net.node("Clip", [x.name], x.shape, **given)
    bounds = ["" if bound is None else net.constant(np.array(bound, np.float32)) for bound in (low, high)]
    return net.node("Clip", [x.name, *bounds], x.shape)


def limited(net: OnnxWriter, x: Tensor) -> Tensor:
    """Max or Min with one number."""
    if net.opset < 8:
        return x
    operator, bound = [("Max", -0.5), ("Min", 0.75)][net.rng.integers(2)]
    return net.node(operator, [x.name, scalar(net, bound)], x.shape)


def leaky_relu(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("LeakyRelu", [x.name], x.shape, alpha=float(net.rng.choice([0.01, 0.1, 0.25])))


def prelu(net: OnnxWriter, x: Tensor) -> Tensor:
    slopes = 1 if net.rng.random() < 0.3 else x.shape[1]
    return net.node("PRelu", [x.name, net.uniform(-0.25, 0.75, slopes, 1, 1)], x.shape)


def arithmetic(net: OnnxWriter, x: Tensor) -> Tensor:
    """Add, Sub, Mul or Div with a scalar or one constant per channel, on either side where that has a meaning."""
    operator = str(net.rng.choice(["Add", "Sub", "Mul", "Div"]))
    shape = [(), (1,), (x.shape[1], 1, 1), (1, x.shape[1], 1, 1)][net.rng.integers(4)]
    operands = [x.name, net.uniform(0.5, 1.5, *shape)]
    if operator != "Div" and net.rng.random() < 0.3:
        operands.reverse()
    return net.node(operator, operands, x.shape)


def negate(net: OnnxWriter, x: Tensor) -> Tensor:
    return net.node("Neg", [x.name], x.shape)


# -- functions of one number -------------------------------------------------------------------------------------------

# Operator, the opset it came with, and its attributes.
FUNCTIONS: tuple[tuple[str, int, dict[str, float | str]], ...] = (
    ("Abs", 6, {}),
    ("Celu", 12, {"alpha": 0.8}),
    ("Elu", 6, {"alpha": 0.7}),
    ("Erf", 9, {}),
    ("Gelu", 20, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("HardSigmoid", 6, {"alpha": 0.25}),
    ("HardSwish", 14, {}),
    ("Mish", 18, {}),
    ("Selu", 6, {}),
    ("Sigmoid", 6, {}),
    ("Softplus", 1, {}),
    ("Softsign", 1, {}),
    ("Swish", 24, {}),
    ("Tanh", 6, {}),
)


def function(net: OnnxWriter, x: Tensor) -> Tensor:
    known = [entry for entry in FUNCTIONS if entry[1] <= net.opset]
    operator, _, attributes = known[net.rng.integers(len(known))]
    return net.node(operator, [x.name], x.shape, **attributes)


def positive_function(net: OnnxWriter, x: Tensor) -> Tensor:
    """A function of positive numbers, or one that grows fast: of 0.5 to 1.5."""
    gate = net.node("Sigmoid", [x.name], x.shape)
    shifted = net.node("Add", [gate.name, scalar(net, 0.5)], x.shape)
    operator = str(net.rng.choice(["Exp", "Log", "Pow", "Reciprocal", "Sqrt"]))
    operands = [shifted.name, scalar(net, float(net.rng.choice([-0.75, 2.0, 1.5])))]
    return net.node(operator, operands if operator == "Pow" else operands[:1], x.shape)


def gated(net: OnnxWriter, x: Tensor) -> Tensor:
    """SiLU, HardSwish or Gelu as exporters write them before ONNX has the operator."""
    return (_silu, _hard_swish, _gelu)[net.rng.integers(3 if net.opset >= 9 else 2)](net, x)


def _silu(net: OnnxWriter, x: Tensor) -> Tensor:
    gate = net.node("Sigmoid", [x.name], x.shape)
    return net.node("Mul", [gate.name, x.name], x.shape)


def _hard_swish(net: OnnxWriter, x: Tensor) -> Tensor:
    """x * Clip(x + 3, 0, 6) / 6."""
    shifted = net.node("Add", [x.name, scalar(net, 3)], x.shape)
    if net.opset < 11:
        clipped = net.node("Clip", [shifted.name], x.shape, min=0.0, max=6.0)
    else:
        clipped = net.node("Clip", [shifted.name, scalar(net, 0), scalar(net, 6)], x.shape)
    product = net.node("Mul", [x.name, clipped.name], x.shape)
    return net.node("Div", [product.name, scalar(net, 6)], x.shape)


def _gelu(net: OnnxWriter, x: Tensor) -> Tensor:
    """x * (1 + Erf(x / sqrt(2))) * 0.5."""
    inner = net.node("Div", [x.name, scalar(net, 2**0.5)], x.shape)
    shifted = net.node("Add", [net.node("Erf", [inner.name], x.shape).name, scalar(net, 1)], x.shape)
    product = net.node("Mul", [x.name, shifted.name], x.shape)
    return net.node("Mul", [product.name, scalar(net, 0.5)], x.shape)


def scalar(net: OnnxWriter, value: float) -> str:
    return net.constant(np.array(value, np.float32))


# -- two maps ----------------------------------------------------------------------------------------------------------


def two_maps(net: OnnxWriter, x: Tensor) -> Tensor:
    """x and a branch of it, in either order, subtracted, multiplied, averaged or divided."""
    branch = one_by_one(net, x, x.shape[1], scale=0.5)
    operator = str(net.rng.choice(["Sub", "Mul", "Mean", "Div"]))
    if operator == "Div":
        branch = net.node("Add", [net.node("Sigmoid", [branch.name], x.shape).name, scalar(net, 0.5)], x.shape)
        return net.node("Div", [x.name, branch.name], x.shape)
    operands = [x.name, branch.name]
    net.rng.shuffle(operands)
    return net.node(operator, operands, x.shape)


def square(net: OnnxWriter, x: Tensor) -> Tensor:
    squared = net.node("Mul", [x.name, x.name], x.shape)
    return net.node("Sub", [x.name, squared.name], x.shape)


def squeeze_excite(net: OnnxWriter, x: Tensor) -> Tensor:
    """The map times what two small layers make of its averages."""
    channels = x.shape[1]
    pooled = net.node("GlobalAveragePool", [x.name], (1, channels, 1, 1))
    inner = one_by_one(net, pooled, max(1, channels // 2))
    inner = net.node("Relu", [inner.name], inner.shape)
    gate = net.node(
        str(net.rng.choice(["Sigmoid", "HardSigmoid"])), [one_by_one(net, inner, channels).name], pooled.shape
    )
    return net.node(str(net.rng.choice(["Mul", "Mul", "Add"])), [x.name, gate.name], x.shape)


def spatial_gate(net: OnnxWriter, x: Tensor) -> Tensor:
    """The map times one number for each position."""
    gate = one_by_one(net, x, 1)
    gate = net.node("Sigmoid", [gate.name], gate.shape)
    return net.node("Mul", [x.name, gate.name], x.shape)


# -- norms -------------------------------------------------------------------------------------------------------------


def channel_normalization(net: OnnxWriter, x: Tensor) -> Tensor:
    """Over channels: L2 as exporters write it or as an operator, or the response of neighbours."""
    x = net.node("Add", [x.name, net.uniform(0.5, 1.0, x.shape[1], 1, 1)], x.shape)
    kind = net.rng.integers(3)
    if kind == 0:
        return net.node("LRN", [x.name], x.shape, size=int(net.rng.choice([1, 3, 5])), alpha=0.1, beta=0.75, bias=1.0)
    if kind == 1:
        return net.node("LpNormalization", [x.name], x.shape, axis=1, p=2)
    length = net.with_integers("ReduceL2", x, (1, 1, *x.shape[2:]), 18, {"axes": [1]}, keepdims=1)
    unit = net.node("Div", [x.name, length.name], x.shape)
    return net.node("Mul", [unit.name, net.uniform(0.5, 2.0, 1, x.shape[1], 1, 1)], x.shape)


def normalization(net: OnnxWriter, x: Tensor) -> Tensor:
    """By mean and variance: of each channel, of groups of channels, or of each position."""
    _, channels, height, width = x.shape
    vectors = [net.uniform(0.5, 1.5, channels), net.normal(channels)]
    kind = net.rng.integers(3)
    if kind == 0 and net.opset >= 21:
        groups = int(net.rng.choice([g for g in (1, 2, 4, channels) if channels % g == 0]))
        operands = [x.name, *vectors]
        return net.node("GroupNormalization", operands, x.shape, num_groups=groups, epsilon=EPSILON)
    if kind == 1 and net.opset >= 17:
        last = net.node("Transpose", [x.name], (1, height, width, channels), perm=[0, 2, 3, 1])
        last = net.node("LayerNormalization", [last.name, *vectors], last.shape, axis=-1, epsilon=EPSILON)
        return net.node("Transpose", [last.name], x.shape, perm=[0, 3, 1, 2])
    return net.node("InstanceNormalization", [x.name, *vectors], x.shape, epsilon=EPSILON)


def channel_sum(net: OnnxWriter, x: Tensor) -> Tensor:
    """One more channel: a sum of the others."""
    operator = str(net.rng.choice(["ReduceSum", "ReduceSumSquare", "ReduceL1"]))
    since = 13 if operator == "ReduceSum" else 18
    total = net.with_integers(operator, x, (1, 1, *x.shape[2:]), since, {"axes": [1]}, keepdims=1)
    total = net.node("Mul", [total.name, scalar(net, 1 / x.shape[1])], total.shape)
    return net.node("Concat", [x.name, total.name], (1, x.shape[1] + 1, *x.shape[2:]), axis=1)


def repeated(net: OnnxWriter, x: Tensor) -> Tensor:
    """The map minus its maxima, which are written out for every position."""
    pooled = net.node("GlobalMaxPool", [x.name], (1, x.shape[1], 1, 1))
    if net.rng.random() < 0.5 and net.opset >= 8:
        operands = [pooled.name, net.constant(np.array([1, *x.shape[1:]], np.int64))]
        spread = net.node("Expand", operands, x.shape)
    else:
        spread = net.node("Tile", [pooled.name, net.constant(np.array([1, 1, *x.shape[2:]], np.int64))], x.shape)
    return net.node("Sub", [x.name, spread.name], x.shape)
