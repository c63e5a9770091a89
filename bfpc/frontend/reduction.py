"""Reductions: over height and width they are pools, over channels one-tap convolutions, over both one after the other.

ReduceL2(x) over channels   ->   Table(sqrt) of Conv(ones) of x * x
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir

from bfpc.frontend.builder import GraphBuilder, Importer, integers
from bfpc.frontend.node_builder import NodeBuilder, Step, chain
from bfpc.frontend.pooling import pool_axes
from bfpc.frontend.tensor import Tensor, show
from bfpc.frontend.unsupported import Unsupported
from bfpc.ir.layout import Axes


@dataclass(frozen=True)
class Reduction:
    """What is summed up (x, |x| or x * x), whether the sum becomes a mean, and whether its square root is taken."""

    of: Literal["x", "abs", "square"] = "x"
    mean: bool = False
    root: bool = False


def import_reduce(reduction: Reduction) -> Importer:
    """The importer of a sum or mean over any of channels, height and width, wherever they stand."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x, build = net.feature(node), NodeBuilder(node, net)
        letters, axes = _reduced(node, x)
        steps: list[tuple[str, Step]] = []
        if reduction.of == "square":
            steps.append(("squares", lambda x, role: build.multiply(x, x, role)))
        if reduction.of == "abs":
            steps.append(("sizes", lambda x, role: build.leaky(x, -1.0, role)))
        steps += sums(build, x, letters, mean=reduction.mean)
        if reduction.root:
            steps.append(("root", lambda x, role: build.table(x, ("sqrt",), role=role)))
        return replace(chain(x, steps), axes=axes)

    return importer


def import_reduce_extremum(sign: float) -> Importer:
    """The importer of ReduceMax (sign 1) or ReduceMin (sign -1) over height and width."""

    def importer(node: onnx_ir.Node, net: GraphBuilder) -> Tensor:
        x, build = net.feature(node), NodeBuilder(node, net)
        letters, axes = _reduced(node, x)
        if "C" in letters:
            raise Unsupported(f"it reduces the channels of {show(x.axes)}", "reduce over height and width only")
        negate: list[tuple[str, Step]] = [("negated", lambda x, role: build.scale(x, sign, role=role))]
        negate = negate if letters and sign < 0 else []
        return replace(chain(x, [*negate, *_pools(build, "max", letters), *negate]), axes=axes)

    return importer


def sums(build: NodeBuilder, x: Tensor, letters: str, *, mean: bool) -> list[tuple[str, Step]]:
    """The steps that sum the map `x` over some of its axes C, H and W, or take the mean."""
    channels = x.size("C") if "C" in letters else 1
    positions = int(np.prod([x.size(letter) for letter in letters if letter != "C"], dtype=int))
    steps = _pools(build, "average", letters.replace("C", ""))
    factor = 1.0 if mean else float(positions)
    if channels > 1:
        weights = np.full((1, channels), factor / channels if mean else factor)
        steps.append(("channels", lambda x, role: build.mix(x, weights, role=role)))
    elif factor != 1:
        steps.append(("sum", lambda x, role: build.scale(x, factor, role=role)))
    return steps


def _pools(build: NodeBuilder, kind: Literal["max", "average"], letters: str) -> list[tuple[str, Step]]:
    if not letters:
        return []
    return [(kind, lambda x, role: pool_axes(build.node, build.net, x, kind, letters, x.axes, role))]


def _reduced(node: onnx_ir.Node, x: Tensor) -> tuple[str, Axes]:
    """The axes of the map, larger than 1, that a node reduces, and how ONNX lays the result out."""
    rank = len(x.axes)
    given = integers(node, "axes", 1)
    if not given and node.attributes.get_int("noop_with_empty_axes", 0) == 1:
        return "", x.axes
    reduced = {axis % rank for axis in given or range(rank)}
    letters = "".join(x.layout[axis] for axis in sorted(reduced))
    if "N" in letters:
        raise Unsupported(f"it reduces the batch of {show(x.axes)}", "reduce over channels, height and width")
    keep = node.attributes.get_int("keepdims", 1)
    return letters, tuple(group for axis, group in enumerate(x.axes) if keep or axis not in reduced)
