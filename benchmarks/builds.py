"""What several benchmarks measure: networks and builds, made once in a run and removed at its end."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from benchmarks.networks import NETWORKS
from benchmarks.networks.pictures import synthetic_pictures
from bfpc.config import Preprocessing, load_config
from bfpc.data import preprocess
from bfpc.pipeline import compile_model

SHARED = Path(__file__).parents[2] / "shared"
CALIBRATION_IMAGES = 8
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Trained:
    """A trained network of the zoo, its preprocessing, and the pictures that it is for: `photos` or `cifar10`."""

    file: str
    preprocessing: Preprocessing
    pictures: str = "photos"


TRAINED = {
    "resnet20": Trained("resnet20_cifar10.onnx", Preprocessing(mean=IMAGENET_MEAN, std=IMAGENET_STD), "cifar10"),
    "efficientnet_lite0": Trained(
        "efficientnet_lite0_imagenet.onnx", Preprocessing(resize=256, divide=1, mean=(127,), std=(128,))
    ),
    "mobilenetv2": Trained(
        "mobilenetv2_imagenet.onnx", Preprocessing(resize=256, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    ),
    "opennsfw": Trained(
        "opennsfw_resnet50thin.onnx", Preprocessing(resize=256, channels="BGR", divide=1, mean=(104, 117, 123))
    ),
}


def available() -> dict[str, Trained]:
    """The trained networks that lie in the folder shared/zoo beside the repository, by name."""
    return {name: trained for name, trained in TRAINED.items() if (SHARED / "zoo" / trained.file).is_file()}


@cache
def scratch() -> Path:
    """A folder that lasts as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="bfpc-benchmarks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def full_size_model(name: str) -> Path:
    """A full-size network with drawn weights: `resnet50`, `ssd300` or `unet`."""
    path = scratch() / f"{name}.onnx"
    onnx.save(NETWORKS[name](), path)
    return path


@cache
def full_size_pictures(name: str) -> Path:
    """Synthetic pictures to calibrate it with."""
    path = scratch() / f"{name}-pictures.npy"
    (image,) = onnx.load(full_size_model(name)).graph.input
    _, channels, size, _ = (axis.dim_value for axis in image.type.tensor_type.shape.dim)
    np.save(path, synthetic_pictures(np.random.default_rng(1), CALIBRATION_IMAGES, size, channels))
    return path


@cache
def full_size_build(name: str, preset: str) -> Path:
    """The build folder of a full-size network."""
    folder = scratch() / f"{name}-{preset}"
    compile_model(full_size_model(name), load_config(preset), folder, full_size_pictures(name))
    return folder


@cache
def trained_build(name: str, preset: str) -> Path:
    """The build folder of a trained network, calibrated on pictures that `compared_pictures` leaves out."""
    trained, folder = TRAINED[name], scratch() / f"{name}-{preset}"
    config = load_config(preset).model_copy(update={"preprocessing": trained.preprocessing})
    compile_model(SHARED / "zoo" / trained.file, config, folder, calibration_pictures(trained))
    return folder


def calibration_pictures(trained: Trained) -> Path:
    """CIFAR-10 pictures of the training set, or the first photographs."""
    if trained.pictures == "cifar10":
        return _cifar10("train", CALIBRATION_IMAGES, trained.preprocessing)
    return _photos()[0]


def compared_pictures(trained: Trained, count: int) -> Path:
    """CIFAR-10 pictures of the test set, or the photographs that do not calibrate."""
    return _cifar10("test", count, trained.preprocessing) if trained.pictures == "cifar10" else _photos()[1]


@cache
def _photos() -> tuple[Path, Path]:
    """Folders of the first photographs and of the others."""
    folders = scratch() / "first-photos", scratch() / "other-photos"
    for folder in folders:
        folder.mkdir()
    for index, photo in enumerate(sorted((SHARED / "data" / "photos").glob("*.jpg"))):
        (folders[index >= CALIBRATION_IMAGES] / photo.name).symlink_to(photo.resolve())
    return folders


def _cifar10(part: str, count: int, preprocessing: Preprocessing) -> Path:
    """The first `count` pictures, preprocessed, as an array."""
    path = scratch() / f"cifar10-{part}-{count}.npy"
    if not path.exists():
        with np.load(SHARED / "data" / f"cifar10_{part}.npz") as archive:
            stream, offsets = archive["jpeg"].tobytes(), archive["offsets"]
        files = (io.BytesIO(stream[offsets[index] : offsets[index + 1]]) for index in range(count))
        np.save(path, np.stack([preprocess(Image.open(file), (3, 32, 32), preprocessing) for file in files]))
    return path
