"""Trains a network for 4-bit formats, and compiles what comes of it; needs bfpc[train].

python examples/retrain_network.py model.onnx pictures.npy labels.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.config import load_config
from bfpc.pipeline import compile_model
from bfpc.training.retrain import Retraining, Source, retrain


def main(model: Path, pictures: Path, labels: Path) -> None:
    config, tuned = load_config("int4"), Path("tuned.onnx")
    task = Retraining(Source(pictures, labels), epochs=2)  # without labels the float network teaches
    found = retrain(model, config, tuned, task)
    assert found is not None  # None in the processes that torchrun starts beside the first
    for epoch in found.epochs:
        print(f"epoch {epoch.number}: loss {epoch.loss:.3f}, {epoch.training}")
    compile_model(tuned, config, Path("build_of_tuned"), pictures)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
