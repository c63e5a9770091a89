"""float32 feature maps to mantissas and exponents, on one core."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.figures import Figure
from benchmarks.timing import interleaved
from bfpc.comparison import sqnr_db
from bfpc.numerics.format import BfpFormat
from bfpc.numerics.quantize import dequantize, quantize

TITLE = "Quantizer: normally distributed maps of 256 x 112 x 112, one core"
SHAPE = (1, 256, 112, 112)
MANTISSA_BITS = (4, 5, 8)
ROUNDS = 9


def measure() -> Iterator[Figure]:
    x = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    for block in (16, 32):
        for bits in MANTISSA_BITS:
            format = BfpFormat(bits, block, exponent_range=7).with_top(3)
            (times,) = interleaved(lambda format=format: quantize(x, format), rounds=ROUNDS)  # type: ignore[misc]
            speed = x.nbytes / times.median / 1e9
            yield Figure(f"{format}", speed, "GB/s of float32", 1.0, more_is_better=True)
            error = dequantize(*quantize(x, format), format) - x
            yield Figure(f"{format}", sqnr_db(float(np.vdot(x, x)), float(np.vdot(error, error))), "dB SQNR")
