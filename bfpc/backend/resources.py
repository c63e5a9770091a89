"""What an accelerator takes of a device, module by module, and whether it fits.

- array: fitted to synthesis runs (area.py);
- memories: counted from what the C++ declares (memories.py), mapped to blocks by the rules below;
- loaders and tail: operators counted from the C++ (logic.py), what most of them are made of scaled to synthesis runs
  (module_area.py);
- depthwise lanes and DMA: counted operators alone.

Where logic is fitted, the estimate carries the error on runs that were left out of the fit.

Small memories are shift registers or distributed RAM: FIFOs of two words, as Vitis HLS has it, and whatever holds up to
SMALL_BITS. All else are block RAMs in the shape that takes the fewest, but for arrays that URAMs take where the device
has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bfpc.backend.architecture import Architecture
from bfpc.backend.area import Fit, array_element, fit
from bfpc.backend.devices import Device, Family
from bfpc.backend.dsp_packing import packed_products
from bfpc.backend.logic import Operators, Product, TailLane, Unpacker, other_operators, tail_lane, unpackers
from bfpc.backend.memories import Memory, on_chip_memories
from bfpc.backend.module_area import TOPS, Module, operators_logic, scale

SMALL_BITS = 1024  # config_storage -auto_srl_max_bits of Vitis HLS (UG1399)
SMALL_DEPTH = 2  # config_storage -auto_srl_max_depth
URAM_WORDS, URAM_BITS = 4096, 72  # UG573
# Of each resource, the share that a design can fill before routing suffers (UG949, report_failfast).
FILL = {"logic": 0.7, "block_rams": 0.8, "urams": 0.8, "dsps": 0.8}


@dataclass(frozen=True)
class Resources:
    """logic: LUTs or ALMs; block_rams: BRAM36s, of which a half counts as 0.5, or M20Ks."""

    logic: float = 0.0
    block_rams: float = 0.0
    urams: int = 0
    dsps: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.logic + other.logic,
            self.block_rams + other.block_rams,
            self.urams + other.urams,
            self.dsps + other.dsps,
        )


@dataclass(frozen=True)
class ModuleArea:
    """error: of the logic, relative, on what was left out of its fit; None where it was not measured."""

    name: str
    resources: Resources
    error: float | None


@dataclass(frozen=True)
class Area:
    """An accelerator on a device."""

    device: Device
    modules: tuple[ModuleArea, ...]

    @property
    def total(self) -> Resources:
        return sum((module.resources for module in self.modules), Resources())

    @property
    def shares(self) -> dict[str, float]:
        """Of each resource of the device, the share that is taken; infinite where it has none."""
        return {name: _share(getattr(self.total, name), getattr(self.device, name)) for name in FILL}

    @property
    def scarcest(self) -> str:
        """The resource of which the largest share of what can be filled is taken."""
        return max(FILL, key=lambda name: self.shares[name] / FILL[name])

    @property
    def fullest(self) -> float:
        """That share: the accelerator fits where it is 1 at most."""
        return self.shares[self.scarcest] / FILL[self.scarcest]

    @property
    def fits(self) -> bool:
        return self.fullest <= 1


def estimate_area(architecture: Architecture, device: Device) -> Area:
    """What an accelerator takes of a device."""
    found = fit(device.family.target)
    modules = [ModuleArea("array", _array(architecture, device.family, found), found.error)]
    held, target = held_memories(device, on_chip_memories(architecture)), device.family.target
    operators, lane = other_operators(architecture), tail_lane(architecture)
    own = {
        "loaders": [_scaled(unpacker, device.family) for unpacker in unpackers(architecture)],
        "tail": [_scaled(lane, device.family)] * architecture.k_vec,
    }
    errors = {"loaders": scale(TOPS[Unpacker], target).error, "tail": scale(TOPS[TailLane], target).error}
    for name in dict.fromkeys((*operators, *held)):
        counted = _counted(operators.get(name, Operators()), device.family)
        whole = sum(own.get(name, []), counted + held.get(name, Resources()))
        modules.append(ModuleArea(name, whole, errors.get(name)))
    return Area(device, tuple(modules))


def _array(architecture: Architecture, family: Family, found: Fit) -> Resources:
    """The processing elements; with products in DSPs, several elements share one."""
    element, count = array_element(architecture), architecture.k_vec
    if architecture.multipliers == "luts":
        return Resources(count * found.logic(element))
    packed = packed_products(element.activation_bits, element.weight_bits, family.multiplier)
    multipliers = architecture.c_vec * math.ceil(count / packed)
    borrow_bits = (architecture.c_vec * count - multipliers) * (element.activation_bits + element.weight_bits)
    logic = count * found.logic(element, in_dsps=True) + borrow_bits * found.adder_bit
    return Resources(logic, dsps=math.ceil(multipliers / family.multiplier.count))


def _scaled(module: Module, family: Family) -> Resources:
    counted = _counted(module.operators, family)
    return replace(counted, logic=scale(TOPS[type(module)], family.target).factor * counted.logic)


def _counted(operators: Operators, family: Family) -> Resources:
    dsps = sum(product.count * _dsps_of(product, family) for product in operators.products)
    return Resources(logic=operators_logic(operators, family.target), dsps=dsps)


def _dsps_of(product: Product, family: Family) -> int:
    """DSPs of a wide product: parts of both operands in each, the signs in the highest; none beyond what is kept."""
    wide, narrow = family.multiplier.wide - 1, family.multiplier.narrow - 1
    left, right = math.ceil((product.left - 1) / wide), math.ceil((product.right - 1) / narrow)
    parts = sum(wide * i + narrow * j < product.kept for i in range(left) for j in range(right))
    return math.ceil(parts / family.multiplier.count)


def held_memories(device: Device, memories: Iterable[Memory]) -> dict[str, Resources]:
    """What the memories of each module take. Arrays move to URAMs, the deepest first, while that evens out the two."""
    known = list(memories)
    placed = [_in_blocks(memory, device.family) for memory in known]
    arrays = [
        place for place, memory in enumerate(known) if memory.kind in ("buffer", "beside") and not is_small(memory)
    ]
    for place in sorted(arrays, key=lambda place: known[place].depth, reverse=True) if device.urams else ():
        moved = [*placed[:place], _in_urams(known[place]), *placed[place + 1 :]]
        if _fuller(device, moved) < _fuller(device, placed):
            placed = moved
    held: dict[str, Resources] = {}
    for memory, resources in zip(known, placed, strict=True):
        held[memory.module] = held.get(memory.module, Resources()) + resources
    return held


def _fuller(device: Device, taken: Iterable[Resources]) -> float:
    """The larger of the shares of block RAMs and of URAMs."""
    whole = sum(taken, Resources())
    return max(whole.block_rams / device.block_rams, whole.urams / device.urams)


def _in_urams(memory: Memory) -> Resources:
    urams = math.ceil(memory.depth / URAM_WORDS) * math.ceil(memory.bits / URAM_BITS)
    return Resources(urams=memory.instances * urams)


def _in_blocks(memory: Memory, family: Family) -> Resources:
    if is_small(memory):
        slices = math.ceil(memory.depth / family.small_words) * math.ceil(memory.bits / family.small_bits)
        return Resources(logic=memory.instances * slices * family.small_logic)
    blocks = min(math.ceil(memory.depth / words) * math.ceil(memory.bits / bits) for words, bits in family.block_shapes)
    return Resources(block_rams=memory.instances * blocks / family.halves)


def is_small(memory: Memory) -> bool:
    """Whether a memory is shift registers or distributed RAM."""
    shallow = memory.kind == "fifo" and memory.depth <= SMALL_DEPTH
    return shallow or memory.depth * memory.bits <= SMALL_BITS


def _share(taken: float, available: int) -> float:
    if available:
        return taken / available
    return math.inf if taken else 0.0
