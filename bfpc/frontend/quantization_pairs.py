"""Drops the pairs of other quantizers: the network is quantized anew, from its real numbers.

QuantizeLinear -> DequantizeLinear                       ->  nothing
QuantizeLinear -> DequantizeLinear, zero at one end      ->  Clip to the range
DequantizeLinear of a constant                           ->  the real constant

A pair also limits its tensor to the range of its integers. Where zero lies within that range, it is only the window
that calibration found, which is found anew here. Where zero is an end of it, the tensor came from a Relu or a Clip that
the quantizer may have removed, since the range does the same: a Clip takes its place. It costs nothing where the tensor
is limited already. A Clip to bounds on both sides of zero cannot be told from a window, and is lost if it was removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

CLIP_READS_BOUNDS = 11  # the first opset where Clip has them as inputs, not as attributes
DOMAINS = ("", "ai.onnx", "com.microsoft")  # onnxruntime's own has more types of integers in old opsets
Numbers = NDArray[np.float64]
Bounds = tuple[float, float]


def is_dequantizer(node: onnx_ir.Node) -> bool:
    return node.op_type == "DequantizeLinear" and node.domain in DOMAINS


def drop_pairs(graph: onnx_ir.Graph) -> int:
    """Drops what can be; returns the number of nodes that made real numbers.

    Pairs whose numbers are computed, or that dequantize by other numbers than they quantize by, stay.
    """
    dropped = 0
    clips: dict[tuple[onnx_ir.Value, Bounds], onnx_ir.Value] = {}
    for node in list(graph):
        if not is_dequantizer(node) or node.inputs[0] is None:
            continue
        quantizer = node.inputs[0].producer()
        if quantizer is not None and _is_pair(quantizer, node):
            _drop_pair(graph, quantizer, node, clips)
        elif all(value is None or _array(value) is not None for value in node.inputs):
            _make_constant(graph, node)
        else:
            continue
        dropped += 1
    return dropped


def _is_pair(quantizer: onnx_ir.Node, node: onnx_ir.Node) -> bool:
    if quantizer.op_type != "QuantizeLinear" or quantizer.domain not in DOMAINS:
        return False
    before, after = _scale_and_zero(quantizer), _scale_and_zero(node)
    return before is not None and after is not None and all(map(_equal, before, after))


def _equal(first: Numbers, second: Numbers) -> bool:
    return (first.shape == second.shape or 1 in (first.size, second.size)) and bool(np.all(first == second))


def _scale_and_zero(node: onnx_ir.Node) -> tuple[Numbers, Numbers] | None:
    """What a node quantizes or dequantizes by; None where that is computed at run time."""
    scale, zero = _array(node.inputs[1]), _array(_input(node, 2))
    if scale is None or (zero is None and _input(node, 2) is not None):
        return None
    return scale, np.zeros(1) if zero is None else zero


def _input(node: onnx_ir.Node, index: int) -> onnx_ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _array(value: onnx_ir.Value | None) -> Numbers | None:
    """A constant as float64; None where it is absent or computed."""
    tensor = None if value is None else onnx_ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy().astype(np.float64)


# -- pairs -------------------------------------------------------------------------------------------------------------


def _drop_pair(
    graph: onnx_ir.Graph,
    quantizer: onnx_ir.Node,
    node: onnx_ir.Node,
    clips: dict[tuple[onnx_ir.Value, Bounds], onnx_ir.Value],
) -> None:
    """Lets what reads the pair read the real tensor, or its Clip; an output of the network keeps its name."""
    real = quantizer.inputs[0]
    assert real is not None
    bounds = None if real.is_graph_input() else _one_sided_range(quantizer)
    if bounds is not None and (real, bounds) not in clips:
        clips[real, bounds] = node.outputs[0]
        _become_clip(graph, node, real, bounds)
        return
    source = real if bounds is None else clips[real, bounds]
    if node.outputs[0].is_graph_output():
        _become(node, "Identity", [source])
    else:
        node.outputs[0].replace_all_uses_with(source)


def _one_sided_range(quantizer: onnx_ir.Node) -> Bounds | None:
    """The real numbers of a quantizer's range, the widest of all channels, where zero is one of its ends."""
    integers = _integer_range(quantizer)
    if integers is None:
        return None
    numbers = _scale_and_zero(quantizer)
    assert numbers is not None
    scale, zero = numbers
    ends = [(end - zero) * scale for end in integers]
    low, high = float(ends[0].min()), float(ends[1].max())
    return (low, high) if 0.0 in (low, high) else None


def _integer_range(quantizer: onnx_ir.Node) -> tuple[int, int] | None:
    """The range of the integers that a quantizer makes; None where it makes others."""
    zero = _input(quantizer, 2)
    tensor = None if zero is None else onnx_ir.convenience.get_const_tensor(zero)
    given = quantizer.attributes.get_int("output_dtype", 0) or onnx_ir.DataType.UINT8
    kind = onnx_ir.DataType(given) if tensor is None else tensor.dtype
    if not kind.is_integer():
        return None
    lowest = -(2 ** (kind.bitwidth - 1)) if kind.is_signed() else 0
    return lowest, lowest + 2**kind.bitwidth - 1


def _become_clip(graph: onnx_ir.Graph, node: onnx_ir.Node, real: onnx_ir.Value, bounds: Bounds) -> None:
    named = dict(zip(("min", "max"), bounds, strict=True))
    output, kind = node.outputs[0].name, _real_type(node)
    if graph.opset_imports.get("", CLIP_READS_BOUNDS) < CLIP_READS_BOUNDS:
        _become(node, "Clip", [real])
        node.attributes.update((key, onnx_ir.AttrFloat32(key, bound)) for key, bound in named.items())
        return
    constants = [_constant(graph, f"{output}.{key}", np.array(bound, kind)) for key, bound in named.items()]
    _become(node, "Clip", [real, *constants])


def _become(node: onnx_ir.Node, operator: str, inputs: Sequence[onnx_ir.Value]) -> None:
    node.op_type, node.domain = operator, ""
    node.attributes.clear()
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


# -- constants ---------------------------------------------------------------------------------------------------------


def _constant(graph: onnx_ir.Graph, name: str, array: NDArray[np.generic]) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(array, name=name)
    kind = onnx_ir.TensorType(tensor.dtype)
    value = onnx_ir.Value(name=name, shape=onnx_ir.Shape(array.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def _make_constant(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    output, array = node.outputs[0], _real_numbers(node)
    if output.is_graph_output():
        return
    name, output.name = str(output.name), f"{output.name}.quantized"
    output.replace_all_uses_with(_constant(graph, name, array))


def _real_type(node: onnx_ir.Node) -> np.dtype[Any]:
    """The type of the real numbers that a node makes, which is that of its constant scale."""
    tensor = onnx_ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    assert tensor is not None
    return tensor.dtype.numpy()


def _real_numbers(node: onnx_ir.Node) -> NDArray[np.generic]:
    """(integers - zero point) * scale, for one scale, one per index of an axis, or one per block along it."""
    integers, numbers = _array(node.inputs[0]), _scale_and_zero(node)
    assert integers is not None
    assert numbers is not None
    axis = node.attributes.get_int("axis", 1) or 0
    block = node.attributes.get_int("block_size", 0) or 0
    scale, zero = (_spread(vector, integers.shape, axis, block) for vector in numbers)
    return np.asarray((integers - zero) * scale, _real_type(node))


def _spread(vector: Numbers, shape: tuple[int, ...], axis: int, block: int) -> Numbers:
    """What broadcasts against `shape`."""
    if vector.size == 1:
        return vector.reshape(())
    if block:
        return np.repeat(vector, block, axis).take(range(shape[axis]), axis)
    return vector.reshape([-1 if index == axis % len(shape) else 1 for index in range(len(shape))])
