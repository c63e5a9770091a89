"""Calibration and evaluation data: pictures, arrays, or synthetic pictures, as the network's inputs.

`open_inputs` reads no more than it must; images come when they are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bfpc.array_files import StoredArray, read_arrays
from bfpc.config_sections import Preprocessing
from bfpc.errors import DataError
from bfpc.ir.layout import Axes, to_onnx

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SYNTHETIC_IMAGES = 8
SYNTHETIC_CELLS = (3, 6, 12, 24, 48)  # coarse to fine; each half as strong as the one before

MAX_PIXELS = 1 << 28

FLOAT32 = np.dtype(np.float32)  # of all maps, whatever the element type of the ONNX input

Array = NDArray[Any]


@dataclass(frozen=True)
class InputSpec:
    """A network input as ONNX has it: `shape` with a batch of 1 in front, `axes` naming what each axis of it holds.

    An input that is no map, such as the sizes of the images, has no axes. `dtype` is another only where the host alone
    reads the input. An input that is the same for all images (not `per_image`) has its shape as it is.
    """

    name: str
    shape: tuple[int, ...]
    axes: Axes
    dtype: np.dtype[Any] = FLOAT32
    per_image: bool = True

    @property
    def map_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width) where the input can be a picture, else None."""
        sizes = dict(zip(self.axes, self.shape, strict=True)) if self.axes else {}
        if not {"C", "H", "W"} <= sizes.keys() or sizes["C"] not in (1, 3):
            return None
        return sizes["C"], sizes["H"], sizes["W"]


@dataclass(frozen=True)
class InputData:
    """Per input name an array [images, ...], all of one length, and what the user should know about them.

    shared: the inputs that are the same for all images, without that axis.
    """

    arrays: Mapping[str, Array]
    warnings: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return next((len(array) for name, array in self.arrays.items() if name not in self.shared), 1)


class Inputs(Protocol):
    """Images that a network can take. `names`: of the picture files, without suffix, else "0", "1" and so on.

    Pickled, it holds the place of the images, or arrays that are in memory anyway.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> dict[str, Array]:
        """Per input name an array [images, ...] of these images; inputs that all images share are without that axis.

        Raises DataError where an image cannot be read or does not fit.
        """


def open_inputs(
    source: Path | None, specs: Sequence[InputSpec], preprocessing: Preprocessing, limit: int | None, seed: int = 0
) -> Inputs:
    """At most `limit` images of `source`: a picture, a folder of them, .npy, .npz, or synthetic data for None.

    Arrays are taken as they are; pictures are preprocessed. Raises DataError where the data is missing or does not fit.
    """
    if source is None:
        return _synthetic(specs, preprocessing, SYNTHETIC_IMAGES if limit is None else limit, seed)
    if not exists(source):
        raise DataError("no such file or folder", where=str(source), fix="give a folder of pictures, a .npy or a .npz")
    if source.suffix in (".npy", ".npz") and source.is_file():
        return _open_arrays(read_arrays(source.absolute()), specs, limit, str(source))
    return _open_pictures(_list_pictures(source.absolute())[:limit], specs, preprocessing, str(source))


def exists(path: Path) -> bool:
    """Whether there is something at a path; a name that is too long names nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def load_inputs(
    source: Path | None, inputs: Sequence[InputSpec], preprocessing: Preprocessing, limit: int | None, seed: int = 0
) -> InputData:
    """All images of `open_inputs` at once."""
    opened = open_inputs(source, inputs, preprocessing, limit, seed)
    shared = frozenset(spec.name for spec in inputs if not spec.per_image)
    return InputData(opened.take(range(len(opened))), opened.warnings, shared)


@dataclass(frozen=True)
class Pictures:
    """Picture files for a network's only input."""

    paths: tuple[Path, ...]
    spec: InputSpec
    preprocessing: Preprocessing
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.stem for path in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Sequence[int]) -> dict[str, Array]:
        shape = self.spec.map_shape
        assert shape is not None, f"{self.spec.name} is no picture"
        maps = np.stack([preprocess(open_picture(self.paths[index]), shape, self.preprocessing) for index in indices])
        return {self.spec.name: _as_elements(to_onnx(maps, self.spec.axes), self.spec.dtype)}


@dataclass(frozen=True)
class Arrays:
    """An array for each input, with an axis of images in front where it has one for each image."""

    specs: tuple[InputSpec, ...]
    arrays: Mapping[str, Array | StoredArray]
    count: int
    where: str
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.count)))

    def __len__(self) -> int:
        return self.count

    def take(self, indices: Sequence[int]) -> dict[str, Array]:
        return {spec.name: self._take(spec, np.asarray(indices, np.intp)) for spec in self.specs}

    def _take(self, spec: InputSpec, indices: NDArray[np.intp]) -> Array:
        array = self.arrays[spec.name]
        opened = array.open() if isinstance(array, StoredArray) else array
        if spec.per_image:
            opened = opened.reshape(-1, *spec.shape[1:])[indices]  # one image may come without the batch axis
        return _convert(opened, spec, f"{self.where}, input {spec.name}")


def preprocess(picture: Image.Image, shape: tuple[int, int, int], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """A picture as a map of `shape` = (channels, height, width).

    Its shorter side is scaled to `resize` pixels; where that is null or too small, so far that the crop just fits.
    """
    channels, height, width = shape
    if preprocessing.crop not in (None, (height, width)):
        what = f"the crop is {list(preprocessing.crop or ())}, the network takes [{height}, {width}]"
        raise DataError(what, where="preprocessing.crop", fix="leave it null")
    converted = picture.convert("L" if channels == 1 else "RGB")
    fitted = scale_and_crop(converted, (height, width), preprocessing.resize or 0, Image.Resampling.BILINEAR)
    pixels = np.asarray(fitted, np.float32).reshape(height, width, channels)
    if preprocessing.channels == "BGR":
        pixels = pixels[..., ::-1]
    mean, std = (_per_channel(values, channels) for values in (preprocessing.mean, preprocessing.std))
    normalized = (pixels / np.float32(preprocessing.divide) - mean) / std
    return np.ascontiguousarray(normalized.transpose(2, 0, 1), np.float32)


def scale_and_crop(
    picture: Image.Image, shape: tuple[int, int], shorter: float, filter: Image.Resampling
) -> Image.Image:
    """The middle of a picture, of `shape` = (height, width).

    Its shorter side is first scaled to `shorter` pixels; where that is too small, so far that the middle just fits.
    """
    height, width = shape
    scale = max(height / picture.height, width / picture.width, shorter / min(picture.size))
    size = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    if size[0] * size[1] > MAX_PIXELS:
        what = f"a picture of {picture.width} x {picture.height} pixels would be scaled to {size[0]} x {size[1]}"
        raise DataError(what, where=f"preprocessing to {width} x {height}", fix="remove it, or give a smaller resize:")
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return picture.resize(size, filter).crop((left, top, left + width, top + height))


def _per_channel(values: tuple[float, ...], channels: int) -> NDArray[np.float32]:
    if len(values) not in (1, channels):
        what = f"{list(values)} has {len(values)} numbers, the network's input {channels} channels"
        raise DataError(what, where="preprocessing.mean or .std", fix="give one number, or one per channel")
    return np.array(values, np.float32)


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder. Raises DataError where it is none, or cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError as error:
        what = f"neither a file nor a folder that can be read: {error.strerror}"
        raise DataError(what, where=str(folder), fix="give a folder of pictures, a .npy or a .npz") from None


def _list_pictures(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    pictures = sorted(path for path in list_folder(source) if path.suffix.lower() in PICTURES and path.is_file())
    if not pictures:
        raise DataError("the folder holds no pictures", where=str(source), fix=f"bfpc reads {', '.join(PICTURES)}")
    return pictures


def _open_pictures(
    paths: Sequence[Path], specs: Sequence[InputSpec], preprocessing: Preprocessing, where: str
) -> Pictures:
    if len(specs) != 1 or specs[0].map_shape is None:
        takes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)
        fix = "give a .npz with one array for each input name"
        raise DataError(f"pictures do not fit a network that takes {takes}", where=where, fix=fix)
    return Pictures(tuple(paths), specs[0], preprocessing)


def _as_elements(pixels: NDArray[np.floating], dtype: np.dtype[Any]) -> Array:
    """Preprocessed pixels as an input's elements; integers take the nearest they can."""
    if dtype.kind not in "iu":
        return pixels.astype(dtype)
    limits = np.iinfo(dtype)
    rounded: Array = np.rint(pixels).clip(limits.min, limits.max).astype(dtype)
    return rounded


def open_picture(path: Path) -> Image.Image:
    """A picture file. Raises DataError where it cannot be read."""
    try:
        picture = Image.open(BytesIO(path.read_bytes()))  # of an open file, broken ones leave handles behind
        picture.load()
    except UnidentifiedImageError:
        raise DataError("not a picture", where=str(path), fix="remove or replace it") from None
    except Exception as error:  # what Pillow raises on broken files is not documented
        raise DataError(f"not a readable picture: {error}", where=str(path), fix="remove or replace it") from None
    return picture


def _open_arrays(
    arrays: Mapping[str, Array | StoredArray], specs: Sequence[InputSpec], limit: int | None, where: str
) -> Arrays:
    if len(arrays) == len(specs) == 1:
        arrays = {specs[0].name: next(iter(arrays.values()))}  # whatever its name
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        has = ", ".join(name or "one array without a name" for name in arrays) or "nothing"
        fix = f"save a .npz with the keys {', '.join(spec.name for spec in specs)}"
        raise DataError(f"no array for the input {', '.join(missing)}; the file holds {has}", where=where, fix=fix)
    counts = {spec.name: _count(arrays[spec.name], spec, where) for spec in specs}
    counts = {spec.name: min(counts[spec.name], limit or counts[spec.name]) for spec in specs if spec.per_image}
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise DataError(f"the inputs differ in their number of images: {lengths}", where=where, fix="give each as many")
    return Arrays(tuple(specs), arrays, next(iter(counts.values()), 1), where)


def _count(array: Array | StoredArray, spec: InputSpec, where: str) -> int:
    """How many images an array holds. Raises DataError where its shape or element type does not fit the input."""
    place = f"{where}, input {spec.name}"
    _check_convertible(array, spec, place)
    if not spec.per_image:
        if array.shape != spec.shape:
            what = f"an array has shape {array.shape}, the network takes {spec.shape}"
            raise DataError(what, where=place, fix="save it in this layout: it is the same for all images")
        return 1
    if array.shape == spec.shape[1:]:
        return 1
    if array.shape[1:] != spec.shape[1:] or len(array.shape) != len(spec.shape) or not array.shape[0]:
        expected = f"(one or more, {', '.join(map(str, spec.shape[1:]))})"
        what = f"an array has shape {array.shape}, the network takes {expected}"
        raise DataError(what, where=place, fix="save it in this layout; one image may come without the first axis")
    return array.shape[0]


def _check_convertible(array: Array | StoredArray, spec: InputSpec, place: str) -> None:
    if not (np.can_cast(array.dtype, spec.dtype, "same_kind") and array.dtype.kind in "buif"):
        what = f"an array of {array.dtype} where the network takes {spec.dtype}"
        raise DataError(what, where=place, fix=f"save it as {spec.dtype}")


def _convert(array: Array, spec: InputSpec, place: str) -> Array:
    """The array in the element type of its input."""
    with np.errstate(over="ignore"):
        converted = array.astype(spec.dtype)
    if spec.dtype.kind == "f" and not np.isfinite(converted).all():
        raise DataError(f"an array holds NaN, or numbers beyond {spec.dtype}", where=place, fix="leave such images out")
    return converted


def _synthetic(specs: Sequence[InputSpec], preprocessing: Preprocessing, images: int, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    arrays = {spec.name: _synthetic_input(spec, preprocessing, images, random) for spec in specs}
    warning = (
        f"no data given: using {images} synthetic pictures, which real ones will differ from; "
        "accuracy suffers and figures mean little. Give a folder of pictures, .npy or .npz."
    )
    return Arrays(tuple(specs), arrays, images, "synthetic data", (warning,))


def _synthetic_input(spec: InputSpec, preprocessing: Preprocessing, count: int, random: np.random.Generator) -> Array:
    shape = spec.map_shape
    if shape is None:
        size = (count, *spec.shape[1:]) if spec.per_image else spec.shape
        # Integers that are no pictures are sizes or indices as a rule: 1 is in range.
        return random.standard_normal(size).astype(spec.dtype) if spec.dtype.kind == "f" else np.ones(size, spec.dtype)
    pictures = [_synthetic_picture(shape[1:], random) for _ in range(count)]
    maps = np.stack([preprocess(picture, shape, preprocessing) for picture in pictures])
    return _as_elements(to_onnx(maps, spec.axes), spec.dtype)


def _synthetic_picture(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Smooth: a photograph's spectrum falls with the frequency, and white noise would calibrate every layer wrong."""
    pixels = np.zeros((*size, 3), np.float32)
    for octave, cells in enumerate(SYNTHETIC_CELLS):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        pixels += np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / 2**octave
    low, high = pixels.min(), pixels.max()
    return Image.fromarray(((pixels - low) * (255 / max(high - low, 1))).astype(np.uint8))
