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


_ACTIVATION = "use Relu, Clip, LeakyRelu or PRelu and retrain"
_UPSAMPLING = "there is no upsampling yet: end the network before it"
ALTERNATIVES: Mapping[str, str] = {
    **dict.fromkeys(
        ("Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Tanh", "Elu", "Gelu", "Erf", "Mish"), _ACTIVATION
    ),
    **dict.fromkeys(("ConvTranspose", "Resize", "Upsample", "DepthToSpace"), _UPSAMPLING),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv"), "export the float network: bfpc quantizes it"
    ),
    "InstanceNormalization": "use BatchNormalization and retrain",
    "GroupNormalization": "use BatchNormalization and retrain",
    "LayerNormalization": "use BatchNormalization and retrain",
    "Split": "use one Slice per part",
}
DEFAULT_FIX = "end the network before it and compute the rest on the host"


def refuse_operator(operator: str) -> Unsupported:
    return Unsupported("the accelerator has no such operator", ALTERNATIVES.get(operator, DEFAULT_FIX))


def model_error(offences: Collection[Offence], where: str) -> ModelError:
    """One error for all nodes that do not map onto the accelerator, those with a common reason together."""
    groups: dict[tuple[str, str, str], list[Offence]] = {}
    for offence in offences:
        groups.setdefault((offence.operator, offence.reason, offence.fix), []).append(offence)
    lines = [f"{len(offences)} node{'s do' if len(offences) > 1 else ' does'} not map onto the accelerator:"]
    for (operator, reason, fix), members in groups.items():
        lines += [f"  {operator}: {reason}", f"    fix: {fix}", *(f"    {member}" for member in members)]
    fix = "change these nodes, or keep the part before them with onnx.utils.extract_model and run the rest on the host"
    return ModelError("\n".join(lines), where=where, fix=fix)
