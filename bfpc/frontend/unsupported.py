"""What the accelerator cannot do, and what users can do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bfpc.errors import ModelError


class Unsupported(Exception):
    """Raised by the importer of a node: why the node does not map onto the accelerator, and what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        self.reason, self.fix = reason, fix
        super().__init__(reason)


@dataclass(frozen=True)
class Offence:
    """One node that does not map onto the accelerator; shapes are those of its inputs and outputs that are known."""

    node: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.node}: {', '.join(self.inputs) or '?'} -> {', '.join(self.outputs) or '?'}"


DEFAULT_FIX = "move it to the network's start or end, where it costs one crossing at most"
_FLOAT_NETWORK = "export the float network: bfpc quantizes it"
_END = "at the network's end it costs one crossing and can stay; elsewhere use Sigmoid and retrain"
_SINGLE_STEPS = "unroll the loop, or use convolutions over time, and retrain"
ALTERNATIVES: Mapping[str, str] = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"), _FLOAT_NETWORK),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _END),
    **dict.fromkeys(("If", "Loop", "Scan", "LSTM", "GRU", "RNN"), _SINGLE_STEPS),
}


def refuse_operator(operator: str) -> Unsupported:
    return Unsupported("the accelerator has no such operator", ALTERNATIVES.get(operator, DEFAULT_FIX))


def refuse_custom_operator() -> Unsupported:
    return Unsupported("nothing is known of it but its shapes", "express it in ONNX's own operators")


def refuse_layout() -> Unsupported:
    """For a change of layout that only the host's nodes see."""
    reason = "it only changes the layout of a tensor on the host"
    return Unsupported(reason, "none is needed: it follows the nodes around it")


def refuse_island(operators: int, share: float, crossing: int) -> Unsupported:
    """share: of the network's multiplications; crossing: bytes that the host and the accelerator would exchange."""
    plural = "s" if operators > 1 else ""
    reason = (
        f"the accelerator could compute it, but it is on an island of {operators} operator{plural} "
        f"with {share:.2%} of the network's multiplications, not worth moving {crossing:,} bytes from and to the host"
    )
    return Unsupported(reason, "none is needed: with the host's nodes next to it on the accelerator, it would follow")


def model_error(offences: Collection[Offence], where: str) -> ModelError:
    """One error for all nodes that do not map onto the accelerator, those with a common reason together."""
    groups: dict[tuple[str, str, str], list[Offence]] = {}
    for offence in offences:
        groups.setdefault((offence.operator, offence.reason, offence.fix), []).append(offence)
    count = f"{len(offences)} node{'s do' if len(offences) > 1 else ' does'} not map onto it"
    lines = [f"nothing of the network is left for the accelerator: {count}"]
    for (operator, reason, fix), members in groups.items():
        lines += [f"  {operator}: {reason}", f"    fix: {fix}", *(f"    {member}" for member in members)]
    return ModelError("\n".join(lines), where=where, fix="change these nodes as said")
