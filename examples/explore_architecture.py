"""Chooses the accelerator for a network: the fastest that fits an FPGA, and the smallest that is fast enough.

python examples/explore_architecture.py model.onnx pictures.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.backend.devices import find_device
from bfpc.config import load_config
from bfpc.explore.explore import explore
from bfpc.explore.files import write_exploration
from bfpc.jobs import open_engine

# What the config sets is not searched: here only the array is.
CONFIG = """
extends: int54
architecture: {feature_depth: 1024, accumulator_positions: 1024, on_chip_kilobytes: 1024}
"""


def main(model: Path, pictures: Path) -> None:
    Path("base.yaml").write_text(CONFIG)
    config, device = load_config(Path("base.yaml")), find_device("zu9")
    with open_engine() as engine:
        fastest = explore([model], config, device, engine, calibration=pictures)
        smallest = explore([model], config, device, engine, fps=1000, calibration=pictures)
    for name, found in {"fastest": fastest, "smallest for 1000 images a second": smallest}.items():
        array = found.chosen.architecture
        print(f"{name}: {array.c_vec} x {array.k_vec}, {found.chosen.images_per_second:,.0f} images a second")
    write_exploration(smallest, "base.yaml", Path("architecture.yaml"))  # a config to compile with


if __name__ == "__main__":  # its processes import this module
    main(*map(Path, sys.argv[1:]))
