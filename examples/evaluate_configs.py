"""Measures accuracy and size of several configs beside float32, over a whole data set, on all cores.

python examples/evaluate_configs.py model.onnx pictures.npy labels.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.config import load_config
from bfpc.evaluation.evaluate import DataSet, evaluate
from bfpc.jobs import open_engine


def main(model: Path, pictures: Path, labels: Path) -> None:
    configs = {name: load_config(name) for name in ("int8", "int54", "int4")}
    with open_engine() as engine:  # open_engine("tcp://10.0.0.1:8786") for a Dask cluster
        found = evaluate(model, configs, DataSet(pictures, labels), engine, calibration=pictures)
    for row in found.rows:
        scores = {score.name: f"{score.value:.1%}" for score in row.scores}
        print(f"{row.name}: {scores}, {row.bits_per_weight:.1f} bits a weight")


if __name__ == "__main__":  # its processes import this module
    main(*map(Path, sys.argv[1:]))
