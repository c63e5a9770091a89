"""The graph's meaning in plain NumPy and float64: slow, obvious, and independent of the emulator.

Feature maps are [batch, channels, height, width].
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.layout import Fold, from_onnx, to_onnx
from bfpc.ir.operators import (
    Activate,
    Activation,
    Channels,
    Clip,
    Concat,
    Conv,
    Depthwise,
    Elementwise,
    Pad,
    PadMode,
    Pads,
    Pair,
    Pass,
    Pool,
    PositionScale,
    PRelu,
    Scale,
    Slice,
    Table,
    Window,
)
from bfpc.numerics.functions import apply_steps

Maps = NDArray[np.float64]


def run(graph: Graph, inputs: Mapping[str, NDArray[np.floating]]) -> dict[str, Maps]:
    """The network's outputs as ONNX tensors, from its inputs as ONNX tensors, both by their ONNX names."""
    values = evaluate(graph, inputs)
    return {port.name: np.asarray(to_onnx(values[port.value], port.axes)) for port in graph.outputs}


def evaluate(graph: Graph, inputs: Mapping[str, NDArray[np.floating]]) -> dict[str, Maps]:
    """Every value of the graph."""
    values: dict[str, Maps] = {}
    for port in graph.inputs:
        value = graph.value(port.value)
        maps = np.asarray(from_onnx(inputs[port.name], port.axes, port.map_shape(value)), np.float64)
        values[port.value] = maps if port.fold is None else fold(maps, port.fold, value.shape[1:])
    for node in graph.nodes:
        operands = {role: _operand(graph, values, name) for role, name in node.inputs.items()}
        values[node.name] = _apply(node, operands)
        assert values[node.name].shape[1:] == node.output.shape, node.name
    return values


def fold(maps: Maps, how: Fold, size: Pair) -> Maps:
    """Each tap of the fold's kernel as further channels, seen at every stride; zeros beyond the map."""
    beyond = tuple(extent * stride for extent, stride in zip(size, how.stride, strict=True))
    canvas = np.pad(pad(maps, how.pads), [(0, 0), (0, 0), (0, beyond[0]), (0, beyond[1])])
    taps = [
        canvas[:, :, dy :: how.stride[0], dx :: how.stride[1]][:, :, : size[0], : size[1]]
        for dy, dx in np.ndindex(*how.kernel)
    ]
    return np.concatenate(taps, axis=1)


def _operand(graph: Graph, values: Mapping[str, Maps], name: str) -> Maps:
    return values[name] if name in values else np.asarray(graph.array(name), np.float64)


def _apply(node: Node, operands: dict[str, Maps]) -> Maps:
    x = operands.get("x", np.zeros(0))
    match node.op:
        case Conv() | Depthwise() | Pass() as layer:
            return _layer(layer, x, operands)
        case Concat():
            return np.concatenate([operands[f"x{index}"] for index in range(len(operands))], axis=1)
        case Scale():
            return x * _per_channel(operands["scale"]) + _per_channel(operands["bias"])
        case Activate():
            return activate(node.op.activation, x, operands)
        case Elementwise():
            return join(node.op.operation, x, operands["residual"])
        case Channels():
            return x[:, node.op.start : node.op.stop]
        case Pool():
            return pool(node.op.window, x)
        case Pad():
            padded = pad(x, node.op.pads, node.op.mode, node.op.value)
            return np.pad(padded, ((0, 0), node.op.channels, (0, 0), (0, 0)))
        case Slice():
            bounds = zip(node.op.start, node.op.stop, node.op.step, strict=True)
            return x[(slice(None), *(slice(*bound) for bound in bounds))]


def _layer(op: Conv | Depthwise | Pass, x: Maps, operands: Mapping[str, Maps]) -> Maps:
    sums = _pass(op, x) if isinstance(op, Pass) else convolve(op, x, operands["weight"])
    if "bias" in operands:
        sums = sums + _per_channel(operands["bias"])
    if "residual" in operands:
        sums = join(op.tail.residual, sums, operands["residual"])
    if op.tail.activation is not None:
        sums = activate(op.tail.activation, sums, operands)
    return sums if op.tail.pool is None else pool(op.tail.pool, sums)


def _pass(op: Pass, x: Maps) -> Maps:
    if op.input_dilation == (1, 1):
        return pad(x, op.pads, op.pad_mode, op.pad_value)[:, :, :: op.stride[0], :: op.stride[1]]
    ones = np.ones((x.shape[1], 1, *op.kernel))
    return convolve(Depthwise(op.kernel, pads=op.pads, input_dilation=op.input_dilation, pad_mode=op.pad_mode), x, ones)


def join(operation: str, x: Maps, residual: Maps) -> Maps:
    return {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}[operation](x, residual)


def spread(op: Conv | Depthwise, x: Maps) -> Maps:
    """The padded map with zeros between its positions; edge and reflect pads take positions, and zeros between them."""
    (dy, dx), (top, left, bottom, right) = op.input_dilation, op.pads
    if op.pad_mode != "zero":  # pad generously in positions, then cut
        more = tuple(max(0, -(-side // step)) for side, step in zip(op.pads, (dy, dx, dy, dx), strict=True))
        x = pad(x, (more[0], more[1], more[2], more[3]), op.pad_mode)
        top, left = top - more[0] * dy, left - more[1] * dx
        bottom, right = bottom - more[2] * dy, right - more[3] * dx
    dilated = np.zeros((*x.shape[:2], (x.shape[2] - 1) * dy + 1, (x.shape[3] - 1) * dx + 1))
    dilated[:, :, ::dy, ::dx] = x
    return pad(dilated, (top, left, bottom, right))


def convolve(op: Conv | Depthwise, x: Maps, weight: Maps) -> Maps:
    """Sums, over the taps, each tap's weights times the map as that tap sees it."""
    groups = op.groups if isinstance(op, Conv) else x.shape[1]
    weight = weight.reshape(groups, -1, *weight.shape[1:])  # group, output, input, vertical, horizontal
    padded = spread(op, x)
    padded = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    height, width = (
        (size - (kernel - 1) * dilation - 1) // stride + 1
        for size, kernel, dilation, stride in zip(padded.shape[3:], op.kernel, op.dilation, op.stride, strict=True)
    )
    total = np.zeros((len(x), groups, weight.shape[1], height, width))
    for ky, kx in np.ndindex(*op.kernel):
        top, left = ky * op.dilation[0], kx * op.dilation[1]
        seen = padded[..., top :: op.stride[0], left :: op.stride[1]][..., :height, :width]
        total += np.einsum("bgchw,goc->bgohw", seen, weight[..., ky, kx])
    return total.reshape(len(x), -1, height, width)


def activate(activation: Activation, x: Maps, operands: Mapping[str, Maps]) -> Maps:
    match activation:
        case Clip(low, high):
            return np.minimum(np.maximum(x, low), high)
        case PRelu():
            return np.asarray(np.where(x >= 0, x, x * _per_channel(operands["slope"])))
        case Table(steps, gated):
            return apply_steps(steps, x, gated=gated)
        case PositionScale(axis):
            return x * (operands["table"][:, None] if axis == "row" else operands["table"])


def pool(window: Window, x: Maps) -> Maps:
    """Maximum or average over the positions of each window that are not padding."""
    if window.kind == "max":
        maxima: Maps = np.max(_windows(window, pad(x, window.pads, value=-np.inf)), axis=(-2, -1))
        return maxima
    counted = pad(np.ones_like(x), window.pads, value=1.0 if window.count_padding else 0.0)
    counts: Maps = np.sum(_windows(window, counted), axis=(-2, -1))
    sums: Maps = np.sum(_windows(window, pad(x, window.pads)), axis=(-2, -1))
    return sums / counts


def _windows(window: Window, x: Maps) -> Maps:
    views = np.lib.stride_tricks.sliding_window_view(x, window.kernel, axis=(2, 3))
    return np.asarray(views[:, :, :: window.stride[0], :: window.stride[1]])


def pad(x: Maps, pads: Pads, mode: PadMode = "zero", value: float = 0.0) -> Maps:
    """Surrounds a map with `value`, its edge or its reflection, or crops it where a pad is negative."""
    top, left, bottom, right = pads
    height, width = x.shape[2:]
    cropped = x[:, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
    added = [(max(before, 0), max(after, 0)) for before, after in ((top, bottom), (left, right))]
    if mode == "zero":
        return np.pad(cropped, [(0, 0), (0, 0), *added], constant_values=value)
    return np.pad(cropped, [(0, 0), (0, 0), *added], mode=mode)


def _per_channel(vector: Maps) -> Maps:
    return vector[:, None, None]
