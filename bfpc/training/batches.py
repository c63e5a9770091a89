"""Images in the order of an epoch, in batches, augmented; loaded while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from bfpc.config_sections import Training
from bfpc.data import Array, Inputs, InputSpec
from bfpc.ir.layout import from_onnx, to_onnx

LOADERS = 2  # threads; decoding a picture leaves the interpreter free
AHEAD = 4  # batches that are loaded before they are needed

Complete = Callable[[dict[str, Array]], Mapping[str, Array]]
Loaded = TypeVar("Loaded")
Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class Examples:
    """Images and, where there are labels, the class of each [images].

    pictures: the inputs that hold some. complete: adds what the host makes of a batch for the accelerator.
    """

    inputs: Inputs
    classes: NDArray[np.int64] | None
    pictures: tuple[InputSpec, ...]
    complete: Complete = dict

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Batch:
    """Network inputs in their ONNX layout, and the images' classes [images]."""

    inputs: dict[str, Tensor]
    classes: Tensor | None
    images: int

    def __len__(self) -> int:
        return self.images


@dataclass(frozen=True)
class Augmentation:
    """What an epoch does to each image of the data set. mirrored: [images]; shifts: rows and columns [images, 2].

    A shift of `padding` leaves an image where it is.
    """

    mirrored: NDArray[np.bool_]
    shifts: NDArray[np.int64]
    padding: int

    def apply(self, maps: Array, images: Sequence[int]) -> Array:
        """[batch, channels, height, width] of these images of the data set."""
        chosen = list(images)
        maps = np.where(self.mirrored[chosen, np.newaxis, np.newaxis, np.newaxis], maps[..., ::-1], maps)
        if not self.padding:
            return maps
        edges = (self.padding, self.padding)
        padded = np.pad(maps, ((0, 0), (0, 0), edges, edges))
        windows = sliding_window_view(padded, maps.shape[2:], axis=(2, 3))
        rows, columns = self.shifts[chosen].T
        cut: Array = windows[np.arange(len(maps)), :, rows, columns]
        return cut


def draw_augmentation(training: Training, images: int, epoch: int) -> Augmentation | None:
    """Follows from seed and epoch alone, so that a resumed run draws what the interrupted one would have drawn."""
    if not (training.flip or training.crop_padding):
        return None
    random = np.random.default_rng((training.seed, epoch))
    mirrored = random.random(images) < (0.5 if training.flip else 0.0)
    shifts = random.integers(0, 2 * training.crop_padding, (images, 2), endpoint=True)
    return Augmentation(mirrored, shifts, training.crop_padding)


def load_batches(
    examples: Examples, order: Iterable[int], size: int, augmentation: Augmentation | None, device: torch.device
) -> Iterator[Batch]:
    """The images of `order`, `size` at a time, the last batch holding what is left."""
    for inputs, classes, images in _ahead(partial(_load, examples, augmentation), _groups(order, size)):
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        yield Batch(tensors, None if classes is None else torch.from_numpy(classes).to(device), images)


def _load(
    examples: Examples, augmentation: Augmentation | None, images: list[int]
) -> tuple[Mapping[str, Array], NDArray[np.int64] | None, int]:
    arrays = examples.inputs.take(images)
    for spec in examples.pictures if augmentation is not None else ():
        assert augmentation is not None
        assert spec.map_shape is not None
        maps = augmentation.apply(from_onnx(arrays[spec.name], spec.axes, spec.map_shape), images)
        arrays[spec.name] = np.ascontiguousarray(to_onnx(maps, spec.axes))
    return examples.complete(arrays), None if examples.classes is None else examples.classes[images], len(images)


def _groups(order: Iterable[int], size: int) -> Iterator[list[int]]:
    remaining = iter(order)
    while group := list(islice(remaining, size)):
        yield group


def _ahead(load: Callable[[Wanted], Loaded], wanted: Iterable[Wanted]) -> Iterator[Loaded]:
    """What `load` makes of each, in order, a few made in advance."""
    with ThreadPoolExecutor(LOADERS) as pool:
        waiting = deque[Future[Loaded]]()
        for item in wanted:
            waiting.append(pool.submit(load, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
