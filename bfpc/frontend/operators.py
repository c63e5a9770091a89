"""Which importer reads which ONNX operator."""

from __future__ import annotations

from collections.abc import Mapping

from bfpc.frontend.activation import import_clip, import_leaky_relu, import_prelu, import_relu
from bfpc.frontend.builder import Importer
from bfpc.frontend.convolution import import_conv
from bfpc.frontend.elementwise import (
    import_add,
    import_batch_normalization,
    import_div,
    import_mul,
    import_neg,
    import_sub,
    import_sum,
)
from bfpc.frontend.joining import import_concat, import_pad, import_slice
from bfpc.frontend.linear import import_gemm, import_matmul
from bfpc.frontend.pooling import import_global_pool, import_pool, import_reduce
from bfpc.frontend.reshaping import (
    import_cast,
    import_dropout,
    import_flatten,
    import_identity,
    import_reshape,
    import_squeeze,
    import_transpose,
    import_unsqueeze,
)

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

IMPORTERS: Mapping[str, Importer] = {
    **LAYOUT_IMPORTERS,
    "Add": import_add,
    "AveragePool": import_pool("average"),
    "BatchNormalization": import_batch_normalization,
    "Clip": import_clip,
    "Concat": import_concat,
    "Conv": import_conv,
    "Div": import_div,
    "Gemm": import_gemm,
    "GlobalAveragePool": import_global_pool("average"),
    "GlobalMaxPool": import_global_pool("max"),
    "LeakyRelu": import_leaky_relu,
    "MatMul": import_matmul,
    "MaxPool": import_pool("max"),
    "Mul": import_mul,
    "Neg": import_neg,
    "PRelu": import_prelu,
    "Pad": import_pad,
    "ReduceMax": import_reduce("max"),
    "ReduceMean": import_reduce("average"),
    "Relu": import_relu,
    "Slice": import_slice,
    "Sub": import_sub,
    "Sum": import_sum,
}
