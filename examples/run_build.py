"""Runs a build as onnxruntime runs a model, on the emulator or on the C++.

python examples/run_build.py build pictures.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import bfpc


def main(build: Path, pictures: Path) -> None:
    session = bfpc.load(build)  # or bfpc.load(build, "csim"), or the run of a board's driver
    [image] = session.get_inputs()
    print(f"takes {image}")
    [scores] = session.run({image.name: np.load(pictures)})  # any number of images
    for number, row in enumerate(scores[:4]):
        print(f"image {number}: class {row.argmax()}, score {row.max():.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
