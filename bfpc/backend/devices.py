"""FPGAs as data: what they hold, how their memories and multipliers are built, and the boards they are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from bfpc.backend.dsp_packing import DSP48E1, Multiplier
from bfpc.config_faults import nearest
from bfpc.errors import ConfigError

LIST = "devices.yaml"
Target = Literal["xcup", "cyclonev"]  # as Yosys calls them: LUTs of UltraScale+, ALMs of Cyclone V


@dataclass(frozen=True)
class Family:
    """What the devices of a family are built of.

    target: whose synthesis runs the logic is fitted to. block_shapes: words and bits of a block RAM as it can be
    configured; a BRAM36 counts as two halves, which can serve apart. small_bits: a register of shift registers or
    distributed RAM of `small_words` words that takes `small_logic` LUTs or ALMs.
    """

    target: Target
    multiplier: Multiplier
    block_shapes: tuple[tuple[int, int], ...]
    halves: int
    small_words: int
    small_bits: int
    small_logic: int


BRAM18 = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))  # UG573, UG473: simple dual port
M20K = ((512, 40), (1024, 20), (2048, 10))  # Agilex 7 and Arria 10 embedded memory user guides
FAMILIES = {
    "zynq7": Family("xcup", DSP48E1, BRAM18, 2, 32, 1, 1),  # UG479; SRL32
    "ultrascale": Family("xcup", Multiplier(27, 18, 1), BRAM18, 2, 32, 1, 1),  # DSP48E2, UG579
    "arria10": Family("cyclonev", Multiplier(19, 18, 2), M20K, 1, 32, 20, 10),  # MLAB: 32 words of 20 bits in 10 ALMs
    "agilex7": Family("cyclonev", Multiplier(19, 18, 2), M20K, 1, 32, 20, 10),
}


@dataclass(frozen=True)
class Device:
    """logic: LUTs or ALMs. block_rams: BRAM36s or M20Ks. gigabytes_per_second: of the board's DRAM, at its peak."""

    name: str
    part: str
    board: str
    family: Family
    logic: int
    block_rams: int
    urams: int
    dsps: int
    gigabytes_per_second: float
    clock_mhz: float


@cache
def devices() -> Mapping[str, Device]:
    """All that are known, by name."""
    document = yaml.safe_load((files("bfpc.backend") / LIST).read_text())
    return {name: Device(name, **{**fields, "family": FAMILIES[fields["family"]]}) for name, fields in document.items()}


def find_device(name: str) -> Device:
    """Raises ConfigError where none has that name."""
    known = devices()
    if name not in known:
        fix = f"give one of {', '.join(known)}{nearest(name, known)}"
        raise ConfigError("no such device", where=name, fix=fix)
    return known[name]
