"""Rounds the weights of a layer one after the other, so that later ones make up for the errors of those before.

    weights 0.40 and 0.40 of two inputs that are always equal, in steps of 0.25
    ->  0.50 and 0.25, together nearly 0.80, where rounding each by itself gives 1.00

What is kept small is not the weights' error but that of the layer's sums over calibration data: with H the second
moments of the layer's inputs, an error e in weight j is best made up for by adding `-e * inverse(H)[j] /
inverse(H)[j, j]` to the others (Hassibi and Stork, "Second order derivatives for network pruning: optimal brain
surgeon", 1992). All output channels are done at a time, column by column; the upper Cholesky factor of inverse(H) holds
those numbers for the columns still to come (Frantar et al., "GPTQ", 2022).

Here the weights are in blocks that share an exponent: columns are ordered by tap, then channel, and a block's exponents
are chosen when its turn comes, from weights that make up for all blocks before.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from bfpc.numerics.format import BfpFormat, BfpTensor
from bfpc.numerics.quantize import ChooseOffsets

DAMPING = 0.01  # of the mean second moment, added to all: keeps the inverse tame
ROWS_PER_INPUT = 0.5  # with fewer there is next to nothing to learn from the moments
MOST_ROWS = 4  # times the inputs: more say nothing new
LEAST_SAMPLE = 4096

Array = NDArray[np.float64]


def rows_wanted(inputs: int) -> int:
    """How many positions to sample for a sum of so many inputs."""
    return max(LEAST_SAMPLE, MOST_ROWS * inputs)


def compensate_dense(
    weight: NDArray[np.floating], format: BfpFormat, seen: NDArray[np.float32], choose_offsets: ChooseOffsets
) -> BfpTensor | None:
    """Dense weights [output channels, input channels, kernel height, kernel width] in `format`.

    seen: what the filter sees at sampled positions [positions, taps, input channels]. None with too few of them.
    """
    outputs, channels, height, width = weight.shape
    rows = seen.reshape(len(seen), -1)
    if len(rows) < ROWS_PER_INPUT * rows.shape[1]:
        return None
    factor = _inverse_factor(_moments(rows))
    real = weight.transpose(0, 2, 3, 1).reshape(outputs, -1).astype(np.float64)
    mantissas, offsets = np.empty(real.shape, np.int16), []
    for tap in range(0, real.shape[1], channels):
        for start in range(tap, tap + channels, format.block_size):
            block = slice(start, min(start + format.block_size, tap + channels))
            mantissas[:, block], block_offsets = _round_block(real, factor, block, format, choose_offsets)
            offsets.append(block_offsets)
    taps = (outputs, height, width, -1)
    return BfpTensor(
        format,
        np.ascontiguousarray(mantissas.reshape(taps).transpose(0, 3, 1, 2)),
        np.ascontiguousarray(np.stack(offsets, axis=1).reshape(taps).transpose(0, 3, 1, 2)),
    )


def _moments(rows: NDArray[np.float32]) -> Array:
    """The second moments of the inputs, those of different ones shrunk.

    The fewer positions, the more they say about the calibration images rather than the network (Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", 2004, with a weight of so simple a form).
    """
    positions, inputs = rows.shape
    moments = (rows.T @ rows).astype(np.float64)
    own = np.diag(moments).copy()
    moments *= positions / (positions + inputs)
    moments[np.diag_indices(inputs)] = own
    return moments


def _inverse_factor(moments: Array) -> Array:
    """The upper Cholesky factor of the inverse of the damped second moments.

    With both axes reversed, a lower factor L of the moments is an upper one: moments = L L', and the factor of their
    inverse is L's own inverse.
    """
    moments[np.diag_indices_from(moments)] += _damping(np.diag(moments).mean())
    reverse = np.s_[::-1, ::-1]
    lower = scipy.linalg.cholesky(moments[reverse], lower=True, overwrite_a=True)
    inverse, _ = scipy.linalg.lapack.dtrtri(lower, lower=True, overwrite_c=True)
    return np.ascontiguousarray(inverse[reverse])


def _damping(moment: float) -> float:
    return DAMPING * moment or 1.0  # inputs that are always zero: anything keeps the inverse finite


def _round_block(
    real: Array, factor: Array, block: slice, format: BfpFormat, choose_offsets: ChooseOffsets
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Rounds the columns of a block, and adds what makes up for it to the columns of `real` that come later."""
    offsets = choose_offsets(real[:, block].T.astype(np.float32), format)
    step = np.ldexp(1.0, offsets.astype(np.int64) + format.exponent)
    mantissas = np.empty((len(real), block.stop - block.start), np.int16)
    errors = np.empty(mantissas.shape)
    for index, column in enumerate(range(block.start, block.stop)):
        rounded = np.clip(np.rint(real[:, column] / step), format.min_mantissa, format.max_mantissa)
        errors[:, index] = (real[:, column] - rounded * step) / factor[column, column]
        real[:, column + 1 : block.stop] -= np.outer(errors[:, index], factor[column, column + 1 : block.stop])
        mantissas[:, index] = rounded
    real[:, block.stop :] -= errors @ factor[block, block.stop :]
    return mantissas, offsets


def compensate_depthwise(
    weight: NDArray[np.floating], format: BfpFormat, seen: NDArray[np.float32], choose_offsets: ChooseOffsets
) -> BfpTensor:
    """Depthwise weights [channels, 1, kernel height, kernel width]: every channel by itself, its taps in their order.

    seen: as for dense weights; a channel has few taps, for which there always are enough positions.
    """
    by_channel = seen.transpose(2, 0, 1)
    moments = (by_channel.transpose(0, 2, 1) @ by_channel).astype(np.float64)
    taps = moments.shape[1]
    means = moments.trace(axis1=1, axis2=2) / taps
    moments[:, range(taps), range(taps)] += np.vectorize(_damping, otypes=[np.float64])(means)[:, np.newaxis]
    factors = np.linalg.cholesky(np.linalg.inv(moments)).transpose(0, 2, 1)
    real = weight.reshape(len(weight), taps).astype(np.float64)
    offsets = choose_offsets(real.T.astype(np.float32), format)
    step = np.ldexp(1.0, offsets.astype(np.int64) + format.exponent)
    mantissas = np.empty(real.shape, np.int16)
    for tap in range(taps):
        rounded = np.clip(np.rint(real[:, tap] / step), format.min_mantissa, format.max_mantissa)
        errors = (real[:, tap] - rounded * step) / factors[:, tap, tap]
        real[:, tap + 1 :] -= errors[:, np.newaxis] * factors[:, tap, tap + 1 :]
        mantissas[:, tap] = rounded
    return BfpTensor(format, mantissas.reshape(weight.shape), offsets)
