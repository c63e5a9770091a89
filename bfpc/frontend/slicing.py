"""Slice, Split and Gather: parts of a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir

from bfpc.frontend.builder import GraphBuilder, constant, integers
from bfpc.frontend.node_builder import NodeBuilder
from bfpc.frontend.tensor import Tensor, named, single_axis
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.operators import Slice

Bounds = tuple[int, int, int]


def import_slice(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    x = named(net.feature(node))
    starts, stops = integers(node, "starts", 1) or [], integers(node, "ends", 2) or []
    axes = integers(node, "axes", 3) or list(range(len(starts)))
    steps = integers(node, "steps", 4) or [1] * len(starts)
    if min(steps, default=1) < 1:
        raise Unsupported(f"its steps are {steps}", "use positive steps")
    bounds: dict[str, Bounds] = {}
    for start, stop, step, axis in zip(starts, stops, steps, axes, strict=True):
        taken = slice(start, stop, step).indices(x.shape[axis])
        if taken != (0, x.shape[axis], 1):
            bounds[single_axis(x, axis, "slices")] = taken
    return _sliced(node, net, x, bounds) if bounds else x


def import_split(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """The parts in order; all but the first are entered into `net.tensors` here."""
    x = named(net.feature(node))
    axis = (node.attributes.get_int("axis", 0) or 0) % len(x.axes)
    count, size = len(node.outputs), x.shape[axis]
    sizes = integers(node, "split", 1) or [
        min(-(-size // count), size - start) for start in range(0, size, -(-size // count))
    ]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise Unsupported(f"its parts {sizes} don't make up {size}", "export the network again")
    if count == 1:
        return x
    letter = single_axis(x, axis, "splits")
    stops = np.cumsum(sizes).tolist()
    bounds = [{letter: (stop - part, stop, 1)} for stop, part in zip(stops, sizes, strict=True)]
    parts = [_sliced(node, net, x, bound, output) for output, bound in enumerate(bounds)]
    net.tensors |= {str(value.name): part for value, part in zip(node.outputs[1:], parts[1:], strict=True)}
    return parts[0]


def import_gather(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
    """Constant indices: any of channels, a rising sequence of rows or columns; a single index drops its axis."""
    x, indices = named(net.feature(node)), constant(node, 1).astype(np.int64)
    axis = (node.attributes.get_int("axis", 0) or 0) % len(x.axes)
    if indices.ndim > 1 or not indices.size:
        raise Unsupported(f"its indices have shape {list(indices.shape)}", "use a list of indices")
    letter = single_axis(x, axis, "gathers from")
    taken = np.where(indices < 0, indices + x.shape[axis], indices).reshape(-1)
    steps = np.unique(np.diff(taken))
    if len(steps) < 2 and (steps > 0).all():
        step = int(steps[0]) if len(steps) else 1
        part = _sliced(node, net, x, {letter: (int(taken[0]), int(taken[-1]) + 1, step)})
    elif letter == "C":
        part = NodeBuilder(node, net).mix(x, np.eye(x.map_shape[0])[taken])
    else:
        raise Unsupported("it reorders rows or columns", "gather channels, or slice")
    return part if indices.ndim else replace(part, axes=x.axes[:axis] + x.axes[axis + 1 :])


def _sliced(node: onnx_ir.Node, net: GraphBuilder, x: Tensor, bounds: dict[str, Bounds], output: int = 0) -> Tensor:
    """The part of the map within (start, stop, step) of some of its axes."""
    if "N" in bounds:
        raise Unsupported("it takes a part of the batch", "take parts of maps only")
    channels, rows, columns = (bounds.get(letter, (0, x.size(letter), 1)) for letter in "CHW")
    op = Slice(*zip(channels, rows, columns, strict=True))
    return net.emit(node, op, {"x": x.value}, x.axes, output=output)
