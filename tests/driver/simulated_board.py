"""A board for the tests: its register file starts the accelerator's C++, compiled as a library."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np

ENTRY = """
#include "bfpc_accelerator.hpp"
extern "C" void start(const Beat* features, const Beat* residuals, Beat* outputs, const Beat* weights,
                      const Beat* program, const Beat* on_chip_features, const Beat* on_chip_residuals,
                      Beat* on_chip_outputs, int32_t first_layer, int32_t layer_count)
{
    bfpc_accelerator(features, residuals, outputs, weights, program, on_chip_features, on_chip_residuals,
                     on_chip_outputs, first_layer, layer_count);
}
"""
START, DONE, IDLE = 1, 2, 4
ON_CHIP_WORDS = 1 << 18  # more than any of the tests' accelerators has


def build_library(hls: Path, folder: Path) -> Path:
    """The accelerator of a generated project as a shared library in `folder`."""
    entry, library = folder / "entry.cpp", folder / "libaccelerator.so"
    entry.write_text(ENTRY)
    sources = [str(hls / "src" / "bfpc_accelerator.cpp"), str(entry)]
    command = ["g++", "-std=c++14", "-O1", "-shared", "-fPIC", f"-I{hls / 'src'}", "-o", str(library), *sources]
    subprocess.run(command, check=True)
    return library


class SimulatedBuffer:
    """Host and card each have a copy, so that a flush or invalidate that is missing shows."""

    def __init__(self, words: int) -> None:
        whole = np.zeros(words + 8, np.uint64)
        start = -whole.ctypes.data % 64 // 8
        self.words, self.card = np.zeros(words, np.uint64), whole[start : start + words]

    @property
    def address(self) -> int:
        return int(self.card.ctypes.data)

    def flush(self) -> None:
        self.card[:] = self.words

    def invalidate(self) -> None:
        self.words[:] = self.card


class SimulatedBoard:
    """The registers as UG1399 describes them: reading the control register clears its bit for done."""

    def __init__(self, library: Path) -> None:
        self._start = ctypes.CDLL(str(library)).start
        self._start.argtypes = [ctypes.c_void_p] * 8 + [ctypes.c_int32] * 2
        self.registers: dict[int, int] = {0: IDLE}
        self.hangs = False
        self._on_chip = SimulatedBuffer(ON_CHIP_WORDS)

    def write(self, offset: int, value: int) -> None:
        assert 0 <= value < 1 << 32
        self.registers[offset] = value
        if offset == 0 and value & START and not self.hangs:
            addresses = [self._wide(0x10 + 12 * argument) for argument in range(8)]
            self._start(*addresses, self.registers[0x70], self.registers[0x78])
            self.registers[0] = DONE | IDLE

    def read(self, offset: int) -> int:
        value = self.registers[offset]
        if offset == 0:
            self.registers[0] &= ~DONE
        return value

    def allocate(self, words: int) -> SimulatedBuffer:
        return SimulatedBuffer(words)

    def on_chip_address(self) -> int:
        return self._on_chip.address

    def _wide(self, offset: int) -> int:
        return self.registers[offset] | self.registers[offset + 4] << 32
