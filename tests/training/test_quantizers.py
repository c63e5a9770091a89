"""The quantizer in PyTorch equals the compiler's, and its gradients pass what the format reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bfpc.numerics import quantize
from bfpc.numerics.format import BLOCK_SIZES, BfpFormat, BfpTensor
from bfpc.training.quantizers import power_of_two, quantize_depthwise, quantize_maps, round_to_lsb

FORMATS = st.builds(
    BfpFormat,
    mantissa_bits=st.integers(2, 12),
    block_size=st.sampled_from(BLOCK_SIZES),
    exponent_range=st.integers(0, 31),
    signed=st.booleans(),
    exponent=st.integers(-40, 20),
)


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Real numbers of many magnitudes; every fourth a power of two or next to one, some zero."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 30, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    powers = np.sign(x) * 2.0 ** np.rint(np.log2(np.abs(x)))
    kind = rng.integers(0, 12, shape)
    x = np.where(kind == 0, powers, np.where(kind == 1, 0.0, x)).astype(np.float32)
    return np.where(kind == 2, np.nextafter(powers.astype(np.float32), np.float32(0)), x)


@given(
    FORMATS, st.integers(0, 1 << 30), st.sampled_from((1, 3, 16, 21)), st.sampled_from((torch.float32, torch.float64))
)
def test_maps_are_quantized_as_the_compiler_does(
    format: BfpFormat, seed: int, channels: int, dtype: torch.dtype
) -> None:
    x = numbers(seed, 4, channels, 3, 2)
    expected = quantize.dequantize(*quantize.quantize(x, format), format)
    np.testing.assert_array_equal(quantize_maps(torch.from_numpy(x).to(dtype), format).numpy(), expected)


@given(FORMATS, st.integers(0, 1 << 30))
def test_weights_are_quantized_as_the_compiler_does(format: BfpFormat, seed: int) -> None:
    dense, depthwise = numbers(seed, 3, 20, 3, 3), numbers(seed, 7, 1, 3, 2)
    exponent = torch.tensor(format.exponent, dtype=torch.int32)
    expected = BfpTensor(format, *quantize.quantize_weights(dense, format)).real
    np.testing.assert_array_equal(quantize_maps(torch.from_numpy(dense), format, exponent).numpy(), expected)
    taps = BfpFormat(format.mantissa_bits, 6, format.exponent_range, format.signed, format.exponent)
    expected = BfpTensor(taps, *quantize.quantize_depthwise(depthwise, taps)).real
    np.testing.assert_array_equal(quantize_depthwise(torch.from_numpy(depthwise), taps, exponent).numpy(), expected)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("gradient", [1.0, -1.0])  # descending lowers, or raises
def test_gradients_pass_within_the_window_and_beyond_it_where_they_lead_back(signed: bool, gradient: float) -> None:
    format = BfpFormat(5, 4, 3, signed).with_top(2)  # reaches below 4
    x = torch.tensor([3.9, -0.01, 0.0, 0.3, 4.0, -4.0, -4.1, 100.0]).reshape(1, 8, 1, 1).requires_grad_()
    torch.autograd.backward(gradient * quantize_maps(x, format).sum())
    assert x.grad is not None
    lowers = gradient > 0
    above, below, negative = lowers, not lowers, signed or not lowers
    passes = [True, negative, True, True, above, negative, below, above]
    assert x.grad.flatten().tolist() == [gradient * each for each in passes]


def test_rounding_to_an_lsb_is_exact_and_passes_the_gradient() -> None:
    x = torch.tensor([0.5, 1.5, -2.5, 1e-20, 16777215.0], requires_grad=True)
    rounded = round_to_lsb(x, 1.0)
    assert rounded.tolist() == [0, 2, -2, 0, 16777215]
    torch.autograd.backward(rounded.sum())
    assert x.grad is not None
    assert x.grad.tolist() == [1] * 5


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, -126), (torch.float64, -1022)])
def test_powers_of_two_are_exact(dtype: torch.dtype, least: int) -> None:
    exponents = range(least, -least + 1)
    found = power_of_two(torch.tensor(exponents), dtype)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(
        found,
        torch.tensor([2.0**exponent for exponent in exponents], dtype=dtype),
    )
