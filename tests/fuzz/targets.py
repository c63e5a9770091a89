"""What is fuzzed: each target makes a hostile file of its kind, and uses it as a command would."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from PIL import Image

import bfpc
from bfpc.config import Config, load_config
from bfpc.config_file import PRESETS
from bfpc.config_sections import Preprocessing
from bfpc.data import InputSpec, load_inputs
from bfpc.errors import BfpcError
from bfpc.frontend.reader import read_model
from bfpc.inspection import inspect
from bfpc.labels import load_labels
from bfpc.partition_view import inspect_partition
from bfpc.pipeline import compile_model
from tests.fuzz.builds import mutate_build
from tests.fuzz.models import mutated_model, sound_model
from tests.fuzz.mutations import HOSTILE_VALUES, mutate_bytes, mutate_json, mutate_yaml
from tests.fuzz.sandbox import attempt

Use = Callable[[], object]
SPEC = InputSpec("x", (1, 3, 8, 8), ("N", "C", "H", "W"))
PICTURE = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
LABELS = b'{"0": [{"class": 1, "box": [0.1, 0.2, 0.5, 0.9]}], "1": [], "picture": 3, "007": 4}'


def fuzz(name: str, seed: int, folder: Path) -> BfpcError | None:
    """Runs one case in an empty folder. Raises whatever it is that must not happen."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")  # those of other libraries about what they read
        return attempt(TARGETS[name](Random(seed), folder), folder)


def _model(random: Random, folder: Path) -> Use:
    path = folder / "network.onnx"
    path.write_bytes(mutated_model(random))
    return partial(read_model, path)


def _config(random: Random, folder: Path) -> Use:
    path = folder / "config.yaml"
    path.write_bytes(mutate_yaml(random, random.choice(_configs())))
    return partial(load_config, path)


@cache
def _configs() -> tuple[str, ...]:
    """The presets, and every key of the config with its default."""
    everything = Config.model_validate(_defaults(Config())).to_yaml()
    return (everything, *(path.read_text() for path in sorted(PRESETS.glob("*.yaml"))))


def _defaults(section: Any) -> Any:
    return {
        key: _defaults(value) if hasattr(value, "model_fields_set") else value
        for key, value in section
        if value is not None
    }


def _build(random: Random, folder: Path) -> Use:
    build = folder / "build"
    mutate_build(random, sound_build(), build)

    def use() -> None:
        inspect(build)
        inspect_partition(build).to_json()
        bfpc.load(build).run(None, {"x": PICTURE})

    return use


@cache
def sound_build() -> Path:
    """A build of `sound_model`, which lasts as long as the process."""
    folder = _scratch()
    onnx.save(sound_model(), folder / "network.onnx")
    compile_model(folder / "network.onnx", Config.model_validate({"calibration": {"images": 1}}), folder / "build")
    return folder / "build"


@cache
def _scratch() -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="bfpc-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _data(random: Random, folder: Path) -> Use:
    """Arrays, archives of them, and pictures."""
    kind = random.choice((".npy", ".npz", ".png", ".jpg", ".gif", ".tif", ".webp", ".bmp"))
    path = folder / f"data{kind}"
    path.write_bytes(
        mutate_bytes(random, _array_file(random, kind) if kind in (".npy", ".npz") else _picture_file(kind))
    )
    return partial(load_inputs, path, [SPEC], Preprocessing(), 4)


def _array_file(random: Random, kind: str) -> bytes:
    content, array = BytesIO(), np.zeros((2, 3, 8, 8), random.choice((np.float32, np.uint8, np.float64)))
    if kind == ".npy":
        np.save(content, array)
    else:
        random.choice((np.savez, np.savez_compressed))(content, x=array)
    return content.getvalue()


@cache
def _picture_file(kind: str) -> bytes:
    content = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 9, 3), np.uint8)
    Image.fromarray(pixels).save(content, {".jpg": "jpeg", ".tif": "tiff"}.get(kind, kind[1:]))
    return content.getvalue()


def _labels(random: Random, folder: Path) -> Use:
    if random.random() < 0.3:
        path = folder / random.choice(("labels.npy", "labels.npz"))
        content = mutate_bytes(random, _array_file(random, path.suffix))
    else:
        path = folder / "labels.json"
        content = random.choice((mutate_json, mutate_bytes))(random, LABELS)
    path.write_bytes(content)
    names = random.choice((("0", "1"), ("picture", "7"), ("0",), (str(random.choice(HOSTILE_VALUES))[:99],)))

    def use() -> None:
        load_labels(path, names).take(range(len(names)))

    return use


TARGETS: Mapping[str, Callable[[Random, Path], Use]] = {
    "model": _model,
    "config": _config,
    "build": _build,
    "data": _data,
    "labels": _labels,
}
