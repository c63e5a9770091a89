"""Which importer reads which ONNX operator, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping

from bfpc.frontend import activation
from bfpc.frontend.activation import function, import_function
from bfpc.frontend.builder import Importer
from bfpc.frontend.convolution import import_conv, import_conv_transpose
from bfpc.frontend.elementwise import (
    import_add,
    import_div,
    import_extremum,
    import_mean,
    import_mul,
    import_neg,
    import_sub,
    import_sum,
)
from bfpc.frontend.joining import import_concat, import_pad
from bfpc.frontend.linear import import_gemm, import_matmul
from bfpc.frontend.normalization import (
    import_batch_normalization,
    import_group_normalization,
    import_instance_normalization,
    import_layer_normalization,
    import_local_response_normalization,
    import_lp_normalization,
)
from bfpc.frontend.pooling import import_global_pool, import_pool
from bfpc.frontend.reduction import Reduction, import_reduce, import_reduce_extremum
from bfpc.frontend.reshaping import (
    import_cast,
    import_depth_to_space,
    import_dropout,
    import_expand,
    import_flatten,
    import_identity,
    import_reshape,
    import_space_to_depth,
    import_squeeze,
    import_tile,
    import_transpose,
    import_unsqueeze,
)
from bfpc.frontend.resizing import import_resize
from bfpc.frontend.slicing import import_gather, import_slice, import_split
from bfpc.ir.operators import Clip

LAYOUT_IMPORTERS: Mapping[str, Importer] = {
    "Cast": import_cast,
    "Dropout": import_dropout,
    "Flatten": import_flatten,
    "Identity": import_identity,
    "Reshape": import_reshape,
    "Squeeze": import_squeeze,
    "Transpose": import_transpose,
    "Unsqueeze": import_unsqueeze,
}

FUNCTION_IMPORTERS: Mapping[str, Importer] = {
    "Celu": import_function(activation.celu),
    "Elu": import_function(activation.elu),
    "Erf": function(("erf",)),
    "Exp": function(("exp",)),
    "Gelu": import_function(activation.gelu),
    "HardSwish": import_function(activation.hard_swish),
    "Log": function(("log",)),
    "Mish": import_function(activation.mish),
    "Reciprocal": function(("reciprocal",)),
    "Selu": import_function(activation.selu),
    "Sigmoid": function(("sigmoid",)),
    "Softplus": function(("softplus",)),
    "Softsign": function(("softsign",)),
    "Sqrt": function(("sqrt",)),
    "Swish": import_function(activation.swish),
    "Tanh": function(("tanh",)),
}

IMPORTERS: Mapping[str, Importer] = {
    **LAYOUT_IMPORTERS,
    **FUNCTION_IMPORTERS,
    "Abs": activation.import_abs,
    "Add": import_add,
    "AveragePool": import_pool("average"),
    "BatchNormalization": import_batch_normalization,
    "Clip": activation.import_clip,
    "Concat": import_concat,
    "Conv": import_conv,
    "ConvTranspose": import_conv_transpose,
    "DepthToSpace": import_depth_to_space,
    "Div": import_div,
    "Expand": import_expand,
    "Gather": import_gather,
    "Gemm": import_gemm,
    "GlobalAveragePool": import_global_pool("average"),
    "GlobalMaxPool": import_global_pool("max"),
    "GroupNormalization": import_group_normalization,
    "HardSigmoid": activation.import_hard_sigmoid,
    "InstanceNormalization": import_instance_normalization,
    "LRN": import_local_response_normalization,
    "LayerNormalization": import_layer_normalization,
    "LeakyRelu": activation.import_leaky_relu,
    "LpNormalization": import_lp_normalization,
    "MatMul": import_matmul,
    "Max": import_extremum(lambda bound: Clip(low=bound)),
    "MaxPool": import_pool("max"),
    "Mean": import_mean,
    "Min": import_extremum(lambda bound: Clip(low=float("-inf"), high=bound)),
    "Mul": import_mul,
    "Neg": import_neg,
    "PRelu": activation.import_prelu,
    "Pad": import_pad,
    "Pow": activation.import_pow,
    "ReduceL1": import_reduce(Reduction(of="abs")),
    "ReduceL2": import_reduce(Reduction(of="square", root=True)),
    "ReduceMax": import_reduce_extremum(1.0),
    "ReduceMean": import_reduce(Reduction(mean=True)),
    "ReduceMin": import_reduce_extremum(-1.0),
    "ReduceSum": import_reduce(Reduction()),
    "ReduceSumSquare": import_reduce(Reduction(of="square")),
    "Relu": activation.import_relu,
    "Resize": import_resize,
    "Slice": import_slice,
    "SpaceToDepth": import_space_to_depth,
    "Split": import_split,
    "Sub": import_sub,
    "Sum": import_sum,
    "Tile": import_tile,
    "Upsample": import_resize,
}

_POOL = "1-D and 2-D; strides, pads below the window's size, ceil_mode; no dilation"
_REDUCTION = "over any of channels, height and width"
_SPACE = "over height, width or both"
_TABLE = "a table of 4096 entries over the range that calibration finds"
_RESIZING = (
    "nearest or linear by whole factors of height and width, up or down; with corners aligned by whole factors of the "
    "size (up, linear, to at most 4096) or of the distance between the corners"
)
_JOINED = "a constant per channel, or another map; broadcasts channels, height and width"
_VIEW = "changes the layout only, and costs nothing; axes may be split if they come together again"

LIMITS: Mapping[str, str] = {
    **dict.fromkeys(LAYOUT_IMPORTERS, "costs nothing"),
    **dict.fromkeys(FUNCTION_IMPORTERS, _TABLE),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"), _VIEW),
    **dict.fromkeys(("Add", "Mul", "Sub"), _JOINED),
    **dict.fromkeys(("AveragePool", "MaxPool"), _POOL),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), "1-D and 2-D"),
    **dict.fromkeys(("ReduceL1", "ReduceMean", "ReduceSum", "ReduceSumSquare"), _REDUCTION),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _SPACE),
    **dict.fromkeys(("Resize", "Upsample"), _RESIZING),
    **dict.fromkeys(("Max", "Min"), "a map and one number"),
    **dict.fromkeys(("Mean", "Sum"), "any number of maps; broadcasts channels, height and width"),
    **dict.fromkeys(("Expand", "Tile"), "repeats channels, height or width of size 1"),
    "Abs": "exact",
    "BatchNormalization": "with trained statistics; folded into the convolution before it",
    "Cast": "between float types; costs nothing",
    "Clip": "constant bounds",
    "Concat": "joins channels",
    "Conv": "1-D and 2-D, constant weights; strides, dilation, groups, any pads",
    "ConvTranspose": "1-D and 2-D, constant weights; strides, dilation, groups, pads, output_padding, output_shape",
    "DepthToSpace": "modes DCR and CRD",
    "Div": f"by a constant per channel; by a map through {_TABLE}",
    "Gather": "constant indices of channels; of rows and columns if evenly spaced",
    "Gemm": "constant weights, transA = 0",
    "GroupNormalization": f"its root from {_TABLE}",
    "HardSigmoid": "exact",
    "InstanceNormalization": f"its root from {_TABLE}",
    "LRN": f"its power from {_TABLE}",
    "LayerNormalization": f"scale and bias per channel; its root from {_TABLE}",
    "LeakyRelu": "exact but for the slope, which has 8 fractional bits",
    "LpNormalization": f"p = 2; its root from {_TABLE}",
    "MatMul": "one constant matrix, summed over an axis that holds all channels",
    "Neg": "exact",
    "PRelu": "one slope per channel, with 8 fractional bits",
    "Pad": "constant, edge or reflect for height and width, 0 for channels; negative pads crop",
    "Pow": f"one constant exponent; 2 is exact, others are {_TABLE}",
    "ReduceL2": f"{_REDUCTION}; its root from {_TABLE}",
    "Relu": "exact",
    "Slice": "constant bounds, positive steps",
    "SpaceToDepth": "any block size that divides the map",
    "Split": "of channels, height or width",
}
