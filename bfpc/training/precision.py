"""Where a GPU may multiply in fewer bits than float32, so that training is faster and the arithmetic stays right.

A stored value is a mantissa times a power of two, so its significand has as many bits as the mantissa's magnitude: at
most 11, short of unsigned 12-bit maps. That is what TensorFloat-32 keeps of a factor; it adds and returns float32. A
quantizing network therefore gives with TensorFloat-32 what it gives without, and only gradients are rounded. bfloat16
would round each sum to 8 bits before the quantizer sees it. The float network that teaches has no quantizers: there
bfloat16 adds noise 40 dB or more below the signal, far less than narrow mantissas do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Products of convolutions and matrices on a GPU in TensorFloat-32, or not, for the time being."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def bfloat16(device: torch.device, allowed: bool) -> torch.autocast:
    """Products in bfloat16 on a GPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=allowed and device.type == "cuda")
