"""Writes a build as an ONNX model of standard operators: any onnxruntime then gives the accelerator's bits.

python examples/export_onnx.py build pictures.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime

import bfpc
from bfpc.export import export


def main(build: Path, pictures: Path) -> None:
    exported = export(build, Path("quantized.onnx"))
    print(f"{exported.file}: {exported.nodes} nodes of opset {exported.opset}")

    feeds = {exported.inputs[0]: np.load(pictures)}
    ours = bfpc.load(build).run(feeds)
    theirs = onnxruntime.InferenceSession(exported.file).run(None, feeds)
    print("the same bits" if all(map(np.array_equal, ours, theirs)) else "other bits")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
