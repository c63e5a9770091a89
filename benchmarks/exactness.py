"""Every network in every format: C simulation against emulator, and the outputs against float32. Takes an hour.

Where only bits are compared, two pictures calibrate and biases stay as they are: that changes no arithmetic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.builds import all_networks, compared_pictures, compile_network
from benchmarks.figures import Figure
from benchmarks.networks import NETWORKS
from bfpc.config import Config, load_config
from bfpc.verify import verify

TITLE = "Exactness: emulator and C simulation, and SQNR of the outputs beside float32"
PRESETS = ("int8", "int54", "int4")
BLOCK_SIZES = (16, 8, 32, 64)
JUDGED_PICTURES = 4
FULL_SIZE_DB, TRAINED_DB = 30, 25  # at int8 in blocks of 16


def measure() -> Iterator[Figure]:
    for name in all_networks():
        for preset in PRESETS:
            for block_size in BLOCK_SIZES:
                yield from _verified(name, preset, block_size)


def _verified(name: str, preset: str, block_size: int) -> Iterator[Figure]:
    what = f"{name} {preset}, blocks of {block_size}"
    judged = preset == "int8" and block_size == BLOCK_SIZES[0]
    with tempfile.TemporaryDirectory(prefix="bfpc-exactness-") as folder:
        build, pictures = Path(folder) / "build", JUDGED_PICTURES if judged else 1
        compile_network(name, config(preset, block_size, quick=not judged), build)
        found = verify(build, compared_pictures(name, pictures), count=pictures, csim=True)
    yield Figure(f"{what}, bit-exact", float(bool(found.bit_exact)), "", 1, more_is_better=True)
    bar = FULL_SIZE_DB if name in NETWORKS else TRAINED_DB
    for output in found.outputs if judged else ():
        if output.sqnr_db is not None:
            yield Figure(f"{what}, {output.name}", output.sqnr_db, "dB SQNR", bar, more_is_better=True)


def config(preset: str, block_size: int, *, quick: bool = False) -> Config:
    """The preset with blocks of another size for maps and weights."""
    document = load_config(preset).model_dump(mode="json", exclude_unset=True)
    for kind in ("activation", "weight"):
        document["formats"][kind]["block_size"] = block_size
    if quick:
        document |= {"passes": {"correct_bias": False}, "calibration": {"images": 2}}
    return Config.model_validate(document)
