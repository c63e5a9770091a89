"""Makes one table of functions of one number that follow each other, or that gate their argument.

    %a = Scale(x, 1/sqrt(2)); %b = Table(%a, erf); %c = Scale(%b, 1, +1); %d = x * %c; %y = Scale(%d, 0.5)
    ->  %y = Table(x, steps=(affine, erf, affine), gated)       Gelu as exporters write it

Scales and clips by themselves are exact without a table and stay. A value that has another reader stays, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bfpc.ir.graph import Graph, Node
from bfpc.ir.operators import Activate, Clip, Elementwise, Scale, Table
from bfpc.numerics.functions import Step

MONOMIALS = {float(exponent): np.eye(exponent + 1)[exponent] for exponent in (2, 3)}


@dataclass(frozen=True)
class _Function:
    """A value as a function of another: its steps at `of`, the innermost first, times `of` if gated."""

    of: str
    steps: tuple[Step, ...] = ()
    gated: bool = False

    @property
    def factor(self) -> float | None:
        """c where the function is x * c."""
        match self.steps:
            case () if not self.gated:
                return 1.0
            case (("affine", float(scale), 0.0),) if not self.gated:
                return scale
        return None

    @property
    def coefficients(self) -> NDArray[np.float64] | None:
        """Of the polynomial that the function is, from the constant one up; None where it is none."""
        match self.steps:
            case () if not self.gated:
                return np.array([0.0, 1.0])
            case (("affine", float(scale), float(shift)),) if not self.gated:
                return np.array([shift, scale])
            case (("power", float(exponent)), *rest) if exponent in MONOMIALS and not self.gated:
                return _scaled(MONOMIALS[exponent], rest)
        return None

    @property
    def needs_table(self) -> bool:
        return self.gated or any(name not in ("affine", "clip") for name, *_ in self.steps)

    def then(self, *steps: Step) -> _Function:
        joined = list(self.steps)
        for step in steps:
            if joined and joined[-1][0] == step[0] == "affine":
                joined[-1] = _affine_of_affine(joined[-1], step)
            else:
                joined.append(step)
        return replace(self, steps=tuple(joined))


def fuse_tables(graph: Graph) -> Graph:
    once = graph.read_once
    inner: dict[str, _Function] = {}  # values that nothing but the next function needs
    nodes = []
    for node in graph.nodes:
        function = _function(graph, node, inner)
        if function is not None and node.name in once:
            inner[node.name] = function
        if function is not None and function.needs_table:
            table = Activate(Table(function.steps, function.gated))
            node = replace(node, op=table, inputs={"x": function.of})
        nodes.append(node)
    return graph.with_nodes(nodes)


def _function(graph: Graph, node: Node, inner: Mapping[str, _Function]) -> _Function | None:
    """A node as a function of one value; None where it isn't."""
    x = node.inputs.get("x", "")
    before = inner.get(x, _Function(x))
    match node.op:
        case Scale():
            scale, bias = graph.array(node.inputs["scale"]), graph.array(node.inputs["bias"])
            if np.ptp(scale) or np.ptp(bias):
                return None
            return _applied(x, before, ("affine", float(scale[0]), float(bias[0])))
        case Activate(Clip(low, high)):
            return _applied(x, before, ("clip", low, high))
        case Activate(Table(steps, gated)):
            return _gate(x, before, steps) if gated else _applied(x, before, *steps)
        case Elementwise(operation):
            residual = node.inputs["residual"]
            other = inner.get(residual, _Function(residual))
            if operation == "multiply":
                return _product(before, other) or _product(other, before)
            return _sum(before, other, 1.0 if operation == "add" else -1.0)
    return None


def _applied(x: str, before: _Function, *steps: Step) -> _Function:
    """The steps after `before`; on the value `x` itself where what is gated can't go on."""
    scales_only = all(step[0] == "affine" and step[2] == 0 for step in steps)
    return _Function(x).then(*steps) if before.gated and not scales_only else before.then(*steps)


def _gate(x: str, before: _Function, steps: tuple[Step, ...]) -> _Function:
    """`before` times the steps at `before`; on the value `x` itself where `before` does more than scale."""
    if before.factor is None:
        return _Function(x, steps, gated=True)
    after = before.then(*steps)
    return replace(after if before.factor == 1 else after.then(("affine", before.factor, 0.0)), gated=True)


def _product(factor: _Function, other: _Function) -> _Function | None:
    """x * c times another function of x."""
    if factor.of != other.of or factor.factor is None or other.gated or other.factor is not None:
        return None
    scaled = other if factor.factor == 1 else other.then(("affine", factor.factor, 0.0))
    return replace(scaled, gated=True)


def _sum(first: _Function, second: _Function, sign: float) -> _Function | None:
    """The sum of two polynomials of one value, such as Gelu's approximation begins with."""
    p, q = first.coefficients, second.coefficients
    if first.of != second.of or p is None or q is None or max(len(p), len(q)) <= 2:
        return None
    total = np.zeros(max(len(p), len(q)))
    total[: len(p)] += p
    total[: len(q)] += sign * q
    return _Function(first.of, (("polynomial", *map(float, total)),))


def _scaled(coefficients: NDArray[np.float64], steps: Sequence[Step]) -> NDArray[np.float64] | None:
    """Of a polynomial after an affine step, or none."""
    match steps:
        case []:
            return coefficients
        case [("affine", float(scale), float(shift))]:
            return np.append(coefficients[0] * scale + shift, coefficients[1:] * scale)
    return None


def _affine_of_affine(inner: Step, outer: Step) -> Step:
    (_, a, b), (_, c, d) = inner, outer
    return "affine", float(a) * float(c), float(b) * float(c) + float(d)
