"""Data for calibration and verification: pictures as trained networks expect them, arrays, synthetic pictures."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bfpc.config_sections import Preprocessing
from bfpc.data import Inputs, InputSpec, load_inputs, open_inputs
from bfpc.errors import DataError

NCHW = InputSpec("x", (1, 3, 4, 6), ("N", "C", "H", "W"))
NHWC = InputSpec("x", (1, 4, 6, 3), ("N", "H", "W", "C"))
GRAY = InputSpec("x", (1, 1, 4, 6), ("N", "C", "H", "W"))
BYTES = InputSpec("x", (1, 4, 6, 3), ("N", "H", "W", "C"), np.dtype(np.uint8))
SIZES = InputSpec("sizes", (1, 2), (), np.dtype(np.int64))
VECTOR = InputSpec("v", (1, 5), ("N", "C"))
PLAIN = Preprocessing(divide=1.0)


def save_picture(path: Path, size: tuple[int, int] = (6, 4), seed: int = 0) -> NDArray[np.uint8]:
    """A random PNG of `size` = (width, height); returns its pixels [height, width, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_pictures_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    pixels = {name: save_picture(tmp_path / name, seed=seed) for seed, name in enumerate(["b.png", "c.png", "a.png"])}
    data = load_inputs(tmp_path, [NCHW], PLAIN, limit=2)
    expected = np.stack([pixels["a.png"], pixels["b.png"]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.arrays["x"], expected)
    assert data.arrays["x"].dtype == np.float32
    assert not data.warnings


def test_one_picture_is_a_batch_of_one_and_follows_the_layout(tmp_path: Path) -> None:
    pixels = save_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(load_inputs(tmp_path / "a.png", [NHWC], PLAIN, 8).arrays["x"], pixels[np.newaxis])


def test_normalization_is_per_channel_in_the_order_of_the_channels(tmp_path: Path) -> None:
    pixels = save_picture(tmp_path / "a.png")
    preprocessing = Preprocessing(channels="BGR", divide=2.0, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    blue_first = pixels[..., ::-1].astype(np.float64)
    expected = (blue_first / 2 - [1, 2, 3]) / [4, 5, 6]
    found = load_inputs(tmp_path, [NHWC], preprocessing, 1).arrays["x"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_an_input_of_bytes_gets_the_pixels_rounded(tmp_path: Path) -> None:
    pixels = save_picture(tmp_path / "a.png")
    found = load_inputs(tmp_path, [BYTES], Preprocessing(divide=1.0, mean=(0.4,)), 1).arrays["x"]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], np.rint((pixels - np.float32(0.4)).clip(0)))


def test_inputs_that_are_no_maps_come_from_arrays_of_their_type(tmp_path: Path) -> None:
    pictures = np.zeros((3, 3, 4, 6), np.float32)
    np.savez(tmp_path / "data.npz", x=pictures, sizes=np.full((3, 2), 7, np.int32))
    assert load_inputs(tmp_path / "data.npz", [NCHW, SIZES], PLAIN, 2).arrays["sizes"].tolist() == [[7, 7], [7, 7]]
    np.savez(tmp_path / "data.npz", x=pictures, sizes=np.full((3, 2), 0.5))
    with pytest.raises(DataError, match="an array of float64 where the network takes int64"):
        load_inputs(tmp_path / "data.npz", [NCHW, SIZES], PLAIN, 2)


def test_an_input_that_is_the_same_for_all_images_has_no_axis_for_them(tmp_path: Path) -> None:
    threshold = InputSpec("threshold", (1,), (), per_image=False)
    np.savez(tmp_path / "data.npz", threshold=np.array([0.5]), x=np.zeros((3, 3, 4, 6), np.float32))
    for source in (tmp_path / "data.npz", None):
        data = load_inputs(source, [threshold, NCHW], PLAIN, 2)
        assert (len(data), data.arrays["threshold"].shape) == (2, (1,))
    with pytest.raises(DataError, match=r"the network takes \(2,\)\n.*\n.*the same for all images"):
        load_inputs(tmp_path / "data.npz", [replace(threshold, shape=(2,)), NCHW], PLAIN, 2)


def test_a_gray_network_gets_gray_pictures(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    np.testing.assert_array_equal(load_inputs(tmp_path, [GRAY], PLAIN, 1).arrays["x"][0, 0], expected)


def test_the_crop_is_the_center(tmp_path: Path) -> None:
    pixels = save_picture(tmp_path / "a.png", (10, 8))
    found = load_inputs(tmp_path, [NHWC], Preprocessing(divide=1.0, resize=8), 1).arrays["x"]
    np.testing.assert_array_equal(found[0], pixels[2:6, 2:8])


@pytest.mark.parametrize("size", [(60, 20), (20, 60), (3, 2), (6, 4), (1, 9)])
@pytest.mark.parametrize("resize", [None, 3, 11])
def test_a_picture_of_any_size_fits(tmp_path: Path, size: tuple[int, int], resize: int | None) -> None:
    save_picture(tmp_path / "a.png", size)
    assert load_inputs(tmp_path, [NCHW], Preprocessing(resize=resize), 1).arrays["x"].shape == (1, 3, 4, 6)


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 3, 4, 6))
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "any_key.npz", whatever=values)
    np.savez(tmp_path / "two.npz", x=values, v=np.ones((5, 5)))
    for name, inputs in [("a.npy", [NCHW]), ("any_key.npz", [NCHW]), ("two.npz", [VECTOR, NCHW])]:
        data = load_inputs(tmp_path / name, inputs, Preprocessing(), 4)
        np.testing.assert_array_equal(data.arrays["x"], values[:4].astype(np.float32))
        assert set(data.arrays) == {spec.name for spec in inputs}
        assert len(data) == 4


def test_one_array_without_the_batch_axis_is_one_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 6)))
    assert load_inputs(tmp_path / "a.npy", [NCHW], PLAIN, 4).arrays["x"].shape == (1, 3, 4, 6)


def test_synthetic_data_warns_repeats_and_is_smooth() -> None:
    spec = InputSpec("x", (1, 3, 64, 64), ("N", "C", "H", "W"))
    data = load_inputs(None, [spec, VECTOR], PLAIN, 3, seed=1)
    again = load_inputs(None, [spec, VECTOR], PLAIN, 3, seed=1)
    assert "synthetic" in data.warnings[0]
    for name, shape in [("x", (3, 3, 64, 64)), ("v", (3, 5))]:
        assert data.arrays[name].shape == shape
        np.testing.assert_array_equal(data.arrays[name], again.arrays[name])
    x = data.arrays["x"]
    assert x.min() >= 0
    assert x.max() <= 255
    assert np.diff(x, axis=3).std() < x.std() / 4  # white noise: 1.4 times


def test_random_seeds_differ() -> None:
    first, second = (load_inputs(None, [NCHW], PLAIN, 1, seed=seed).arrays["x"] for seed in (0, 1))
    assert not np.array_equal(first, second)


# -- images that are read when they are taken --------------------------------------------------------------------------


IMAGES = np.random.default_rng(0).standard_normal((5, 3, 4, 6))


def _picture_folder(folder: Path) -> Path:
    for seed in range(5):
        save_picture(folder / f"{seed}.png", seed=seed)
    return folder


def _saved(save: Callable[..., None], name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save(folder / name, IMAGES)
        return folder / name

    return make


SOURCES: dict[str, Callable[[Path], Path | None]] = {
    "pictures": _picture_folder,
    "npy": _saved(np.save, "a.npy"),
    "column order": _saved(lambda path, array: np.save(path, np.asfortranarray(array)), "a.npy"),
    "npz": _saved(np.savez, "a.npz"),
    "compressed": _saved(np.savez_compressed, "a.npz"),
    "synthetic": lambda _: None,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return SOURCES[request.param](tmp_path)


def test_images_are_those_of_the_whole_in_any_order_and_number(source: Path | None) -> None:
    inputs, whole = open_inputs(source, [NCHW], PLAIN, 5), load_inputs(source, [NCHW], PLAIN, 5).arrays["x"]
    assert (len(inputs), inputs.names) == (5, ("0", "1", "2", "3", "4"))
    for indices in ([3], [4, 0, 0], range(1, 3)):
        np.testing.assert_array_equal(inputs.take(indices)["x"], whole[list(indices)])


def test_inputs_can_be_sent_to_another_process(source: Path | None) -> None:
    inputs = open_inputs(source, [NCHW], PLAIN, 5)
    sent: Inputs = pickle.loads(pickle.dumps(inputs))
    np.testing.assert_array_equal(sent.take([1, 4])["x"], inputs.take([1, 4])["x"])


@pytest.mark.parametrize("name", ["pictures", "npy", "column order", "npz"])
def test_what_is_sent_is_the_place_of_the_images(tmp_path: Path, name: str) -> None:
    source = SOURCES[name](tmp_path)
    one, five = (len(pickle.dumps(open_inputs(source, [NCHW], PLAIN, limit))) for limit in (1, None))
    assert five - one < IMAGES[0].nbytes  # names of files at most


def test_a_picture_is_opened_only_when_it_is_taken(tmp_path: Path) -> None:
    _picture_folder(tmp_path)
    (tmp_path / "3.png").write_text("text")
    inputs = open_inputs(tmp_path, [NCHW], PLAIN, None)
    assert len(inputs.take([0, 1, 2, 4])["x"]) == 4
    with pytest.raises(DataError, match="not a picture") as error:
        inputs.take([2, 3])
    assert error.value.where.endswith("3.png")


# -- what is refused ---------------------------------------------------------------------------------------------------


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _array(**arrays: NDArray[np.generic]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", allow_pickle=True, **arrays)
        return folder / "a.npz"

    return make


def _half(folder: Path) -> Path:
    np.save(folder / "a.npy", IMAGES)
    content = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(content[: len(content) // 2])
    return folder / "a.npy"


BAD = np.full((1, 3, 4, 6), np.nan)
FAULTS: dict[str, tuple[Callable[[Path], Path], list[InputSpec], str]] = {
    "missing": (lambda folder: folder / "none", [NCHW], "no such file or folder"),
    "empty folder": (lambda folder: folder, [NCHW], "no pictures"),
    "not a picture": (_file("a.jpg", b"text"), [NCHW], "not a picture"),
    "truncated picture": (_file("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), [NCHW], "not a readable picture"),
    "some other file": (_file("a.txt", b"text"), [NCHW], "not a picture"),
    "not an array": (_file("a.npy", b"text"), [NCHW], "not a readable array"),
    "empty array file": (_file("a.npy", b""), [NCHW], "not a readable array"),
    "half an array": (_half, [NCHW], "not a readable array"),
    "broken archive": (_file("a.npz", b"PK\x03\x04broken"), [NCHW], "not a readable array"),
    "objects": (_array(x=np.array([{}], object)), [NCHW], "not a readable array"),
    "wrong shape": (_array(x=np.zeros((2, 4, 6, 3))), [NCHW], r"shape \(2, 4, 6, 3\).* \(one or more, 3, 4, 6\)"),
    "no image": (_array(x=np.zeros((0, 3, 4, 6))), [NCHW], r"shape \(0, 3, 4, 6\)"),
    "complex": (_array(x=np.zeros((1, 3, 4, 6), complex)), [NCHW], "array of complex128 .* float32"),
    "text": (_array(x=np.full((1, 3, 4, 6), "a")), [NCHW], "array of <U1 .* float32"),
    "NaN": (_array(x=BAD), [NCHW], "NaN"),
    "too large": (_array(x=np.full((1, 3, 4, 6), 1e300)), [NCHW], "beyond float32"),
    "missing key": (_array(x=BAD, y=BAD), [NCHW, VECTOR], "no array for the input v; the file holds x, y"),
    "lengths": (_array(x=np.zeros((2, 3, 4, 6)), v=np.zeros((3, 5))), [NCHW, VECTOR], "x has 2, v has 3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_data_that_does_not_fit_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    make, inputs, message = FAULTS[name]
    with pytest.raises(DataError, match=message) as error:
        load_inputs(make(tmp_path), inputs, Preprocessing(), 8)
    assert str(tmp_path) in error.value.where


@pytest.mark.parametrize("inputs", [[VECTOR], [NCHW, NHWC]])
def test_pictures_need_one_picture_input(tmp_path: Path, inputs: list[InputSpec]) -> None:
    save_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="pictures do not fit"):
        load_inputs(tmp_path, inputs, Preprocessing(), 8)


@pytest.mark.parametrize("preprocessing", [Preprocessing(mean=(1.0, 2.0)), Preprocessing(crop=(3, 3))])
def test_preprocessing_that_does_not_fit_the_network(tmp_path: Path, preprocessing: Preprocessing) -> None:
    save_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"crop is \[3, 3\].*\[4, 6\]|2 numbers.* 3 channels"):
        load_inputs(tmp_path, [NCHW], preprocessing, 8)
