"""Trained networks, where ../shared/zoo holds them: bit-exact in C simulation, and close to float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.builds import TRAINED, build, compared_pictures
from bfpc.verify import verify

# The least SQNR of the first output in dB; the figures themselves are those of docs/accuracy_table.md.
FLOORS = (
    ("resnet20", "int8", 22.0),
    ("resnet20", "int54", 6.0),
    ("opennsfw", "int8", 28.0),
    ("opennsfw", "int54", 10.0),
    ("mobilenetv2", "int8", 20.0),
    ("efficientnet_lite0", "int8", 14.0),
)


@pytest.mark.parametrize(("name", "preset", "floor"), FLOORS)
def test_trained_network(name: str, preset: str, floor: float, zoo: Path, pictures: Path) -> None:
    assert (zoo / TRAINED[name].file).is_file()
    assert pictures.is_dir()
    found = verify(build(name, preset), compared_pictures(name, 200), count=2, csim=True)
    assert found.bit_exact, found.failures
    found_db = found.outputs[0].sqnr_db
    assert found_db is not None
    assert found_db > floor
