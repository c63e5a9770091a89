"""Bit streams the slow and obvious way: Python strings of '0' and '1', first bit first."""

from __future__ import annotations

import numpy as np

from bfpc.numerics.format import BfpTensor


def field(value: int, width: int) -> str:
    """`width` bits of an integer, lowest first."""
    return "".join(str(int(value) >> bit & 1) for bit in range(width))


def words(stream: str) -> list[int]:
    """The stream in 64-bit words, padded with zeros."""
    chunks = [stream[start : start + 64] for start in range(0, len(stream), 64)]
    return [int(chunk[::-1], 2) for chunk in chunks]


def feature_words(tensor: BfpTensor, group: int) -> list[int]:
    """A feature map's words, record by record."""
    channels, height, width = tensor.mantissas.shape
    size, result = tensor.format.block_size, []
    for first in range(0, channels, group):
        for y in range(height):
            row = ""
            for x in range(width):
                for start in range(first, min(first + group, channels), size):
                    row += field(tensor.offsets[start // size, y, x], tensor.format.exponent_bits)
                    for channel in range(start, start + size):
                        mantissa = tensor.mantissas[channel, y, x] if channel < channels else 0
                        row += field(mantissa, tensor.format.mantissa_bits)
            result += words(row)
    return result


def _tail_parameters(bias: list[int], bias_bits: int, slope: list[int], channel: int) -> str:
    """What a channel's tail needs beside the weights; lists are empty where layers have none."""
    return (field(bias[channel], bias_bits) if bias else "") + (field(slope[channel], 16) if slope else "")


def _depthwise_parameters(weight: BfpTensor, bias: list[int], bias_bits: int, slope: list[int], channel: int) -> str:
    offset = field(weight.offsets[channel], weight.format.exponent_bits)
    return _tail_parameters(bias, bias_bits, slope, channel) + offset


def _dense_weights(weight: BfpTensor, channels: range, c_vec: int, parameters: dict[int, str]) -> str:
    """Each channel's parameters stand in front of its first weights."""
    stream = ""
    _, inputs, height, width = weight.mantissas.shape
    size = weight.format.block_size
    for first in range(0, inputs, c_vec):
        for ky, kx in np.ndindex(height, width):
            for k in channels:
                stream += parameters.pop(k, "")
                for start in range(first, min(first + c_vec, inputs), size):
                    stream += field(weight.offsets[k, start // size, ky, kx], weight.format.exponent_bits)
                    for c in range(start, min(start + size, inputs)):
                        stream += field(weight.mantissas[k, c, ky, kx], weight.format.mantissa_bits)
    return stream


def _depthwise_weights(weight: BfpTensor, channels: range) -> str:
    stream = ""
    for ky, kx in np.ndindex(weight.mantissas.shape[2:]):
        for k in channels:
            stream += field(weight.mantissas[k, 0, ky, kx], weight.format.mantissa_bits)
    return stream


def dense_tile(
    weight: BfpTensor, bias: list[int], bias_bits: int, slope: list[int], channels: range, c_vec: int
) -> str:
    """One channel tile of a dense layer's weight stream."""
    return _dense_weights(weight, channels, c_vec, {k: _tail_parameters(bias, bias_bits, slope, k) for k in channels})


def depthwise_tile(weight: BfpTensor, bias: list[int], bias_bits: int, slope: list[int], channels: range) -> str:
    """One channel tile of a depthwise layer's weight stream."""
    parameters = "".join(_depthwise_parameters(weight, bias, bias_bits, slope, k) for k in channels)
    return parameters + _depthwise_weights(weight, channels)


def shared_tile(
    behind: tuple[BfpTensor, list[int], list[int]],
    dense: tuple[BfpTensor, list[int], list[int]],
    bias_bits: int,
    channels: range,
    c_vec: int,
) -> str:
    """One channel tile of the stream of a dense layer and the depthwise one behind: weight, bias and slope of each."""
    parameters = {}
    for k in channels:
        parameters[k] = _depthwise_parameters(behind[0], behind[1], bias_bits, behind[2], k)
        parameters[k] += _tail_parameters(dense[1], bias_bits, dense[2], k)
    return _depthwise_weights(behind[0], channels) + _dense_weights(dense[0], channels, c_vec, parameters)
