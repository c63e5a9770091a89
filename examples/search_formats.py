"""Lets the compiler choose the formats of every layer: the fewest bits of weights that reach an accuracy.

python examples/search_formats.py model.onnx pictures.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.config import load_config
from bfpc.jobs import open_engine
from bfpc.pipeline import compile_model
from bfpc.search.search import Data, search

CONFIG = """
extends: int8
precision: auto
budget: {accuracy: sqnr_db, at_least: 30, cost: weight_bits}
search: {activation_bits: [6, 8], weight_bits: [4, 6, 8], checks: 4}
"""


def main(model: Path, pictures: Path) -> None:
    Path("auto.yaml").write_text(CONFIG)
    with open_engine() as engine:
        chosen = search(model, load_config(Path("auto.yaml")), Data(pictures), engine)
    print(f"{chosen.accuracy:.1f} dB with {chosen.cost:,.0f} bits of weights")

    Path("chosen.yaml").write_text(chosen.text)  # an ordinary config, with a comment for each layer
    compile_model(model, load_config(Path("chosen.yaml")), Path("build_of_chosen"), pictures)


if __name__ == "__main__":  # its processes import this module
    main(*map(Path, sys.argv[1:]))
