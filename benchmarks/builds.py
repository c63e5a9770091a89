"""What several benchmarks measure: networks and builds, made once in a run and removed at its end."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from PIL import Image

from benchmarks.networks import NETWORKS
from benchmarks.networks.pictures import synthetic_pictures
from benchmarks.records import digest
from bfpc.config import Config, load_config
from bfpc.config_sections import Preprocessing
from bfpc.data import preprocess
from bfpc.pipeline import compile_model

SHARED = Path(__file__).parents[2] / "shared"
CALIBRATION_IMAGES = 8
LEAST_SIDE = 0.6  # of a random square, as a share of the photograph's shorter side
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Trained:
    """A trained network of the zoo, its preprocessing, and the pictures that it is for.

    classifies: whether its first output holds class scores, before a softmax that the host computes.
    """

    file: str
    preprocessing: Preprocessing
    pictures: Literal["photos", "cifar10"] = "photos"
    classifies: bool = True


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
    "oid_ssd_mobilenetv2": Trained(
        "oid_ssd_mobilenetv2.onnx", Preprocessing(resize=300, divide=127.5, mean=(1,)), classifies=False
    ),
    "selfie_segmentation": Trained("selfie_segmentation.onnx", Preprocessing(resize=256), classifies=False),
    "waifu2x_cunet": Trained("waifu2x_cunet_noise3.onnx", Preprocessing(), classifies=False),
}


def available() -> dict[str, Trained]:
    """The trained networks that lie in the folder shared/zoo beside the repository, by name."""
    return {name: trained for name, trained in TRAINED.items() if (SHARED / "zoo" / trained.file).is_file()}


def all_networks() -> tuple[str, ...]:
    """The full-size networks with drawn weights, and the trained ones that are here."""
    return (*NETWORKS, *available())


@cache
def scratch() -> Path:
    """A folder that lasts as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="bfpc-benchmarks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def model(name: str) -> Path:
    """The ONNX file of a full-size or trained network."""
    if name in TRAINED:
        return SHARED / "zoo" / TRAINED[name].file
    path = scratch() / f"{name}.onnx"
    onnx.save(NETWORKS[name](), path)
    return path


@cache
def scores_model(network: str) -> Path:
    """Like `model`, without the softmax that it may end in: probabilities near 1 hide the noise of class scores."""
    path = scratch() / f"{network}-scores.onnx"
    read = onnx.load(model(network))
    *others, last = read.graph.node
    if last.op_type != "Softmax":
        return model(network)
    del read.graph.node[len(others) :]
    read.graph.output[0].name = last.input[0]
    onnx.save(read, path)
    return path


@cache
def model_digest(network: str) -> str:
    """Of `scores_model`."""
    return digest(scores_model(network).read_bytes())


@cache
def build(name: str, preset: str) -> Path:
    """The build folder of a network, calibrated on pictures that `compared_pictures` leaves out."""
    folder = scratch() / f"{name}-{preset}"
    compile_network(name, load_config(preset), folder)
    return folder


def compile_network(name: str, config: Config, folder: Path) -> None:
    """Compiles a network with its own preprocessing and calibration pictures into `folder`."""
    if name in TRAINED:
        config = config.model_copy(update={"preprocessing": TRAINED[name].preprocessing})
    compile_model(model(name), config, folder, calibration_pictures(name))


def calibration_pictures(name: str) -> Path:
    """Synthetic pictures; for trained networks CIFAR-10 pictures of the training set, or the first photographs."""
    if name not in TRAINED:
        return _synthetic(name, CALIBRATION_IMAGES, seed=1)
    if TRAINED[name].pictures == "cifar10":
        return cifar10_pictures("train", CALIBRATION_IMAGES, TRAINED[name].preprocessing)
    return photos(CALIBRATION_IMAGES)[0]


def compared_pictures(name: str, count: int) -> Path:
    """Synthetic pictures; CIFAR-10 pictures of the test set, or the photographs that do not calibrate."""
    if name not in TRAINED:
        return _synthetic(name, count, seed=2)
    if TRAINED[name].pictures == "cifar10":
        return cifar10_pictures("test", count, TRAINED[name].preprocessing)
    return photos(CALIBRATION_IMAGES)[1]


@cache
def _synthetic(name: str, count: int, seed: int) -> Path:
    """Pictures of the size that a full-size network takes, as an array."""
    path = scratch() / f"{name}-pictures-{seed}.npy"
    (image,) = onnx.load(model(name)).graph.input
    _, channels, size, _ = (axis.dim_value for axis in image.type.tensor_type.shape.dim)
    np.save(path, synthetic_pictures(np.random.default_rng(seed), count, size, channels))
    return path


@cache
def photos(count: int) -> tuple[Path, Path]:
    """Folders of the first photographs, so many, and of the others."""
    folders = scratch() / f"first-{count}-photos", scratch() / f"photos-from-{count}"
    for folder in folders:
        folder.mkdir()
    for index, photo in enumerate(sorted((SHARED / "data" / "photos").glob("*.jpg"))):
        (folders[index >= count] / photo.name).symlink_to(photo.resolve())
    return folders


@cache
def photo_crops(count: int, crops: tuple[int, int]) -> tuple[Path, Path]:
    """Like `photos`, but folders of so many pictures of each of the first photographs, and of each of the others.

    The first is the photograph itself, the others are random squares of it, mirrored half the time. All photographs
    come once before any comes again.
    """
    random = np.random.default_rng(0)
    return _cropped(photos(count)[0], crops[0], random), _cropped(photos(count)[1], crops[1], random)


def _cropped(folder: Path, crops: int, random: np.random.Generator) -> Path:
    cropped = folder.with_name(f"{folder.name}-{crops}-crops")
    cropped.mkdir()
    for path in sorted(folder.iterdir()):
        (cropped / f"0-{path.name}").symlink_to(path.resolve())
        with Image.open(path) as photo:
            for crop in range(1, crops):
                _random_square(photo, random).save(cropped / f"{crop}-{path.stem}.png")
    return cropped


def _random_square(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """Of the shorter side between the least share and all."""
    side = round(min(photo.size) * random.uniform(LEAST_SIDE, 1))
    left, top = (int(random.integers(0, size - side, endpoint=True)) for size in photo.size)
    square = photo.crop((left, top, left + side, top + side))
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else square


def cifar10_pictures(part: str, count: int, preprocessing: Preprocessing) -> Path:
    """The first `count` pictures of `train` or `test`, preprocessed, as an array."""
    path = scratch() / f"cifar10-{part}-{count}.npy"
    if not path.exists():
        with np.load(SHARED / "data" / f"cifar10_{part}.npz") as archive:
            stream, offsets = archive["jpeg"].tobytes(), archive["offsets"]
        files = (io.BytesIO(stream[offsets[index] : offsets[index + 1]]) for index in range(count))
        np.save(path, np.stack([preprocess(Image.open(file), (3, 32, 32), preprocessing) for file in files]))
    return path


def cifar10_labels(part: str, count: int) -> Path:
    """The classes of these pictures, as an array."""
    path = scratch() / f"cifar10-{part}-{count}-labels.npy"
    with np.load(SHARED / "data" / f"cifar10_{part}.npz") as archive:
        np.save(path, archive["labels"][:count])
    return path
