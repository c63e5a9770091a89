"""What the host computes: segments of the original ONNX graph that run between those of the accelerator.

The accelerator runs its layers in stages, 0 first. A host segment of stage s runs before the accelerator's stage s, and
after all before it; one whose stage is the number of stages ends the network. Layers that need what a host segment of
stage s makes run in stage s or later: `Port.stage` of a graph's input tells.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HostNode:
    """A node of the original network that the host computes: why, and what would bring it onto the accelerator."""

    name: str
    operator: str
    reason: str
    fix: str


@dataclass(frozen=True)
class HostSegment:
    """A part of the original network. model: serialized ONNX; inputs and outputs: the ONNX names of its tensors."""

    stage: int
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[HostNode, ...]
