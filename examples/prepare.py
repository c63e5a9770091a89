"""Looks whether all parts are there, and writes a config to begin with.

python examples/prepare.py model.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

from bfpc.config import load_config
from bfpc.config_schema import config_schema
from bfpc.doctor import diagnose
from bfpc.initial_config import write_initial_config


def main(model: Path) -> None:
    for part in diagnose().parts:
        print(f"{part.name}: {part.found or f'missing ({part.fix})'}")

    started = write_initial_config(model, Path("mine.yaml"), "int54")
    print(f"{started.layers} layers on the accelerator; assumed: {', '.join(started.assumed)}")
    print(load_config(started.file).overrides[-1].selectors())
    print(f"sections: {', '.join(config_schema()['properties'])}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
