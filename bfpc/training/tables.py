"""Tables of the accelerator in PyTorch: the integer table's values, and the gradient that its entries have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ldexp
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bfpc.ir.operators import Table
from bfpc.numerics.layer import TABLE_ENTRIES
from bfpc.numerics.table import make_table


class TableReader:
    """The table of a layer.

    A trained layer's LSB moves as its weights grow or shrink; the table follows it.
    """

    def __init__(self, table: Table) -> None:
        assert table.domain is not None, "calibration gives a table its domain"
        self._table, self._domain = table, table.domain
        self._made: dict[int, tuple[Tensor, Tensor, int, int]] = {}

    def at(self, exponent: int) -> Callable[[Tensor], Tensor]:
        """The function of sums whose LSB weighs `2**exponent`."""
        return partial(self._read, exponent)

    def _read(self, exponent: int, x: Tensor) -> Tensor:
        if exponent not in self._made:
            self._made[exponent] = self._make(exponent)
        entries, slopes, shift, offset = self._made[exponent]
        if entries.device != x.device:
            entries, slopes = entries.to(x.device), slopes.to(x.device)
            self._made[exponent] = entries, slopes, shift, offset
        read: Tensor = _Read.apply(x, entries.to(x.dtype), slopes, ldexp(1.0, -(exponent + shift)), offset)
        return read

    def _make(self, exponent: int) -> tuple[Tensor, Tensor, int, int]:
        """Entries, their slopes, and what makes an index of a sum."""
        table = make_table(self._table.steps, self._domain, exponent, gated=self._table.gated)
        entries = np.ldexp(table.entries.astype(np.float64), table.exponent)
        slopes = np.gradient(entries) / ldexp(1.0, exponent + table.shift)
        return torch.from_numpy(entries), torch.from_numpy(slopes).float(), table.shift, table.offset


class _Read(torch.autograd.Function):
    """entries[round(x * scale) + offset], the index kept within the table; beyond its ends the gradient is zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, entries: Tensor, slopes: Tensor, scale: float, offset: int) -> Tensor:
        position = torch.round(x.double() * scale) + offset
        index = position.clamp(0, TABLE_ENTRIES - 1).long()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(slopes[index] * (position == index))
        return entries[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradients[0] * slopes, None, None, None, None
