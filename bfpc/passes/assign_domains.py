"""Gives every table the domain that its 4096 entries cover.

    %y = Conv(...) {activation=Table(steps=(('sigmoid',),))}, applied to -30 .. 5 in calibration
    ->  {activation=Table(steps=(('sigmoid',),), domain=(-13.1, 9.4))}

What calibration found is widened by an eighth on either side, as other data reach farther; but not where the function
runs off there, which would cost all entries precision. Then the domain is narrowed where the function is constant:
beyond it the entry at its end is as good. Numbers outside the domain count as its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Table
from bfpc.numerics.functions import apply_steps

MARGIN = 1 / 8  # of the width found, on either side
MAX_GROWTH = 2.0  # of the function's largest magnitude in the margin
CONSTANT = 2.0**-16  # of the function's range
SAMPLES = 1 << 14


def assign_domains(graph: Graph, domains: Mapping[str, tuple[float, float]]) -> Graph:
    """domains: for every layer with a table the range of what its function was applied to in calibration."""
    return graph.with_nodes([_assigned(node, domains) for node in graph.nodes])


def _assigned(node: Node, domains: Mapping[str, tuple[float, float]]) -> Node:
    if node.name not in domains:
        return node
    tail = node.layer.tail
    assert isinstance(tail.activation, Table)
    activation = replace(tail.activation, domain=choose_domain(tail.activation, *domains[node.name]))
    return replace(node, op=replace(node.layer, tail=replace(tail, activation=activation)))


def choose_domain(table: Table, low: float, high: float) -> tuple[float, float]:
    """The domain for a function that calibration applied to numbers from `low` to `high`."""
    margin = MARGIN * (high - low) or MARGIN * abs(high) or 1.0
    x = np.linspace(low - margin, high + margin, SAMPLES)
    y = apply_steps(table.steps, x, gated=table.gated)
    found = (low <= x) & (x <= high) & np.isfinite(y)
    if not found.any():
        return float(x[0]), float(x[-1])
    tame = np.isfinite(y) & (np.abs(np.nan_to_num(y)) <= MAX_GROWTH * np.abs(y[found]).max())
    first, last = np.flatnonzero(found)[[0, -1]]
    first, last = _reach(tame[: first + 1][::-1], first, -1), _reach(tame[last:], last, 1)
    x, y = x[first : last + 1], y[first : last + 1]
    slack = CONSTANT * np.ptp(y[np.isfinite(y)])
    start, stop = _constant(y, slack), len(y) - 1 - _constant(y[::-1], slack)
    return (float(x[start]), float(x[stop])) if start < stop else (float(x[0]), float(x[-1]))


def _reach(tame: NDArray[np.bool_], position: int, direction: int) -> int:
    """Where the unbroken run of `tame`, which begins at `position`, ends."""
    return int(position + direction * ((len(tame) if tame.all() else int(tame.argmin())) - 1))


def _constant(y: NDArray[np.float64], slack: float) -> int:
    """The last position up to which no number differs from the first by more than `slack`."""
    moved = ~(np.abs(y - y[0]) <= slack)
    return int(moved.argmax()) - 1 if moved.any() else len(y) - 1
