"""A layer of the graph as the fields of its program record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bfpc.backend.layer_work import LayerWork, Tile
from bfpc.backend.memory_plan import MemoryPlan
from bfpc.backend.program import ActivationMode, ArrayMode, LayerProgram, PadMode, PoolMode, ResidualMode
from bfpc.backend.weight_image import LayerImage
from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Activation, Clip, Conv, Depthwise, Layer, Pass, PositionScale, PRelu, Table, Window
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.layer import LayerArithmetic

ARRAY_MODES: dict[type[Layer], ArrayMode] = {
    Conv: ArrayMode.DENSE,
    Depthwise: ArrayMode.DEPTHWISE,
    Pass: ArrayMode.PASS,
}
ACTIVATION_MODES: dict[type[Activation] | type[None], ActivationMode] = {
    type(None): ActivationMode.NO_ACTIVATION,
    Clip: ActivationMode.CLIP,
    PRelu: ActivationMode.PRELU,
    Table: ActivationMode.TABLE,
}
SCALE_MODES = {"row": ActivationMode.ROW_SCALE, "column": ActivationMode.COLUMN_SCALE}
PAD_MODES = {"zero": PadMode.PAD_ZERO, "edge": PadMode.PAD_EDGE, "reflect": PadMode.PAD_REFLECT}
RESIDUAL_MODES = {
    "add": ResidualMode.ADD_RESIDUAL,
    "subtract": ResidualMode.SUBTRACT_RESIDUAL,
    "multiply": ResidualMode.MULTIPLY_RESIDUAL,
}
POOL_MODES = {"max": PoolMode.MAX_POOL, "average": PoolMode.AVERAGE_POOL}
NO_WINDOW = Window("max", (1, 1))
NO_FORMAT = BfpFormat(0, 0, 0, signed=False)  # of a tensor that a layer does not have
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1  # bounds that never clip


def encode_run(
    graph: Graph,
    run: Sequence[Node],
    work: LayerWork,
    tile: Tile,
    memory: MemoryPlan,
    images: Mapping[str, LayerImage],
) -> tuple[LayerProgram, ...]:
    """The program records of quantized layers that run together. Tiles are of the map that the last stores."""
    if work.behind is None:
        return (_encode_layer(graph, run[0], work, tile, memory, images[run[0].name]),)
    first, last = run
    behind = _encode_layer(graph, last, work.behind, tile, memory, images[last.name])
    record = _encode_layer(graph, first, work, tile, memory, images[first.name])
    map_height, map_width = work.behind.input.shape[1:]
    return (
        replace(
            record,
            output_address=behind.output_address,
            output_height=map_height,
            output_width=map_width,
            output_words=0,
        ),
        replace(behind, keeps_weights=record.keeps_weights),
    )


def _encode_layer(
    graph: Graph, node: Node, work: LayerWork, tile: Tile, memory: MemoryPlan, image: LayerImage
) -> LayerProgram:
    """The program record of a quantized layer."""
    op, arithmetic = node.layer, layer_arithmetic(node)
    channels, height, width = work.input.shape
    output_format = graph.format(node.name)
    fields = {
        "array_mode": ARRAY_MODES[type(op)],
        "input_address": memory.addresses.get(node.inputs["x"], 0),
        "input_channels": channels,
        "input_height": height,
        "input_width": width,
        **_format_fields("input", work.input.format),
        "streams": int(node.streams),
        **_array_fields(op, work, tile),
        "pad_value": arithmetic.pad_value,
        **_weight_fields(image),
        "keeps_weights": int(work.keeps_weights(tile)),
        "accumulator_shift": arithmetic.accumulator_shift,
        **_residual_fields(graph, node, arithmetic, memory),
        "activation": _activation_mode(op.tail.activation),
        **_clip_fields(op.tail.activation, arithmetic),
        "table_address": image.table_address or 0,
        "table_shift": arithmetic.table_shift,
        "table_offset": arithmetic.table_offset,
        **_pool_fields(op.tail.pool),
        "reciprocal_shift": arithmetic.reciprocal_shift,
        "output_address": memory.addresses.get(node.name, 0),
        "output_height": work.output.shape[1],
        "output_width": work.output.shape[2],
        **_format_fields("output", output_format),
        "output_exponent_range": output_format.exponent_range,
        "output_exponent_shift": output_format.exponent - arithmetic.output_exponent,
        "output_words": work.output.words,
    }
    return LayerProgram(**fields)


def layer_arithmetic(node: Node) -> LayerArithmetic:
    """The integer parameters of a quantized layer."""
    assert node.arithmetic is not None, f"{node.name} has no arithmetic"
    return node.arithmetic


def _format_fields(tensor: str, format: BfpFormat) -> dict[str, int]:
    return {
        f"{tensor}_mantissa_bits": format.mantissa_bits,
        f"{tensor}_signed": int(format.signed),
        f"{tensor}_exponent_bits": format.exponent_bits,
        f"{tensor}_block_size": format.block_size,
    }


def _array_fields(op: Layer, work: LayerWork, tile: Tile) -> dict[str, int]:
    parts = work.parts(tile)
    return {
        "vectors": work.vectors,
        "kernel_height": op.kernel[0],
        "kernel_width": op.kernel[1],
        "depthwise_windows": int(work.windows),
        "weight_digits": work.weight_digits,
        "activation_digits": work.activation_digits,
        "digits_side_by_side": int(work.digits_side_by_side),
        "stride_vertical": op.stride[0],
        "stride_horizontal": op.stride[1],
        "dilation_vertical": op.dilation[0],
        "dilation_horizontal": op.dilation[1],
        "input_dilation_vertical": op.input_dilation[0],
        "input_dilation_horizontal": op.input_dilation[1],
        "pad_top": op.pads[0],
        "pad_left": op.pads[1],
        "pad_mode": PAD_MODES[op.pad_mode],
        "array_height": work.vertical.array_size,
        "array_width": work.horizontal.array_size,
        "output_channels": work.output.shape[0],
        "channel_tiles": len(work.channel_tiles),
        "channel_parts": len(parts),
        "part_channel_tiles": len(parts[0]),
        "tile_height": tile.height,
        "tile_width": tile.width,
        "tiles_vertical": -(-work.vertical.output_size // tile.height),
        "tiles_horizontal": -(-work.horizontal.output_size // tile.width),
    }


def _weight_fields(image: LayerImage) -> dict[str, int]:
    format = image.layout.weight_format or NO_FORMAT
    return {
        "weight_address": image.address,
        "ahead_weight_address": 0,
        "ahead_weight_beats": 0,
        "weight_mantissa_bits": format.mantissa_bits,
        "weight_exponent_bits": format.exponent_bits,
        "weight_block_size": format.block_size,
        "bias_bits": image.layout.bias_bits,
    }


def _residual_fields(graph: Graph, node: Node, arithmetic: LayerArithmetic, memory: MemoryPlan) -> dict[str, int]:
    name = node.inputs.get("residual")
    return {
        "residual": ResidualMode.NO_RESIDUAL if name is None else RESIDUAL_MODES[node.layer.tail.residual],
        "residual_broadcast": int(name is not None and graph.value(name).shape[1:] == (1, 1)),
        "residual_address": 0 if name is None else memory.addresses[name],
        **_format_fields("residual", NO_FORMAT if name is None else graph.format(name)),
        "residual_shift": 0 if name is None else arithmetic.residual_shift,
    }


def _activation_mode(activation: Activation | None) -> ActivationMode:
    if isinstance(activation, PositionScale):
        return SCALE_MODES[activation.axis]
    return ACTIVATION_MODES[type(activation)]


def _clip_fields(activation: Activation | None, arithmetic: LayerArithmetic) -> dict[str, int]:
    if not isinstance(activation, Clip):
        return {"clip_low": 0, "clip_high": 0}
    low, high = arithmetic.clip_low, arithmetic.clip_high
    return {"clip_low": LOWEST if low is None else low, "clip_high": HIGHEST if high is None else high}


def _pool_fields(pool: Window | None) -> dict[str, int]:
    """Without pooling the window is one position."""
    window = pool or NO_WINDOW
    top, left, bottom, right = window.pads
    return {
        "pool": PoolMode.NO_POOL if pool is None else POOL_MODES[pool.kind],
        "pool_height": window.kernel[0],
        "pool_width": window.kernel[1],
        "pool_stride_vertical": window.stride[0],
        "pool_stride_horizontal": window.stride[1],
        "pool_pad_top": top,
        "pool_pad_left": left,
        "pool_pad_bottom": bottom,
        "pool_pad_right": right,
        "pool_count_padding": int(window.count_padding),
    }
