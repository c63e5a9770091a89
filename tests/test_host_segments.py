"""Compiling networks that the host computes a part of: what calibration sees, and what the build gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import bfpc
from bfpc.backend.build_folder import read_build
from bfpc.config import load_config
from bfpc.errors import ModelError
from bfpc.frontend.reader import read_model
from bfpc.pipeline import calibration_data, compile_model
from bfpc.verify import verify
from tests.frontend.test_partition import model_of
from tests.networks.divided import random_inputs, run_onnx

TEXT = """(uint8[N,6,6,3] image, int64[N,2] size) => (int64[N,4,6,6] places, float[N,4,6,6] y, int64[N,1] area) {
    real = Cast<to=1>(image)
    first = Transpose<perm=[0,3,1,2]>(real)
    a = Conv<pads=[1,1,1,1]>(first, w1)
    four = Constant<value_ints=[4]>()
    largest, places = TopK<axis=1>(a, four)
    y = Conv<pads=[1,1,1,1]>(largest, w2)
    area = ReduceProd<axes=[1]>(size)
}"""
UNKNOWN = """(float[1,3,6,6] x) => (float[1,4,6,6] y) <float[1,8,6,6] b> {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = mine.Sharpen(a)
    y = Conv<pads=[1,1,1,1]>(b, w2)
}"""


NUMBERS = """(float[4,3,6,6] x, float factor) => (float[4,4,6,6] y, float largest) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    y = Mod<fmod=1>(a, factor)
    largest = ReduceMax<keepdims=0>(y)
}"""
SEQUENCE = """(float[1,3,6,6] x) => (seq(float[1,1,6,6]) y) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    y = SplitToSequence<axis=1>(a)
}"""


def write(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "network.onnx")
    return folder / "network.onnx"


@pytest.fixture
def model() -> onnx.ModelProto:
    return model_of(TEXT, w1=(8, 3, 3, 3), w2=(4, 4, 3, 3))


def images(model: onnx.ModelProto, count: int) -> dict[str, np.ndarray]:
    batches = [random_inputs(model, seed) for seed in range(count)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_calibration_sees_what_the_original_network_hands_to_the_accelerator(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    feeds = images(model, 3)
    np.savez(tmp_path / "images.npz", image=feeds["image"], size=feeds["size"])
    network = read_model(write(model, tmp_path))
    data = calibration_data(network, load_config("int8"), tmp_path / "images.npz")
    assert data.arrays.keys() == {"image", "size", "real", "largest"}
    model.graph.output.append(onnx.ValueInfoProto(name="largest"))
    expected = run_onnx(model.SerializeToString(), feeds)["largest"]
    np.testing.assert_allclose(data.arrays["largest"], expected, rtol=1e-5)


def test_a_build_runs_with_its_host_segments(model: onnx.ModelProto, tmp_path: Path) -> None:
    feeds = images(model, 4)
    np.savez(tmp_path / "images.npz", image=feeds["image"], size=feeds["size"])
    compile_model(write(model, tmp_path), load_config("int8"), tmp_path / "build", tmp_path / "images.npz")
    build = read_build(tmp_path / "build")
    assert [(segment.stage, segment.outputs) for segment in build.host] == [
        (0, ("real", "area")),
        (1, ("largest", "places")),
    ]
    assert build.manifest["stages"] == [{"first_layer": 0, "layers": 1}, {"first_layer": 1, "layers": 1}]
    assert build.manifest["outputs_of_network"] == ["places", "y", "area"]
    places, y, area = bfpc.load(tmp_path / "build").run(feeds)
    expected = run_onnx(model.SerializeToString(), feeds)
    np.testing.assert_array_equal(area, expected["area"])
    assert (places == expected["places"]).mean() > 0.95
    noise = np.square(y - expected["y"]).mean() / np.square(expected["y"]).mean()
    assert noise < 0.01


def test_what_an_unknown_operator_makes_is_calibrated_on_random_numbers(tmp_path: Path) -> None:
    model = model_of(UNKNOWN, domains=', "mine" : 1', w1=(8, 3, 3, 3), w2=(4, 8, 3, 3))
    network = read_model(write(model, tmp_path))
    data = calibration_data(network, load_config("int8"), None)
    assert data.arrays["b"].shape == (len(data), 8, 6, 6)
    assert 0.9 < data.arrays["b"].std() < 1.1
    assert any("b: calibrated on random numbers" in warning for warning in data.warnings)


def test_numbers_without_axes_go_in_and_come_out(tmp_path: Path) -> None:
    compile_model(write(model_of(NUMBERS, w=(4, 3, 3, 3)), tmp_path), load_config("int12"), tmp_path / "build")
    y, largest = verify(tmp_path / "build", count=6).outputs  # the second batch of 4 is not full
    assert y.sqnr_db is not None
    assert largest.max_abs_error is not None
    feeds = {"x": np.ones((4, 3, 6, 6), np.float32), "factor": np.array(0.5, np.float32)}
    remainders, maximum = bfpc.load(tmp_path / "build").run(feeds)
    assert maximum == remainders.max() < 0.5


def test_an_output_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    model = model_of(SEQUENCE, w=(4, 3, 3, 3))
    with pytest.raises(ModelError, match=r"is no tensor\n  where: y"):
        compile_model(write(model, tmp_path), load_config("int8"), tmp_path / "build")
    assert not (tmp_path / "build").exists()


def test_a_network_on_the_accelerator_alone_needs_no_further_data(tmp_path: Path) -> None:
    text = "(float[1,3,6,6] x) => (float[1,8,4,4] y) { y = Conv(x, w) }"
    network = read_model(write(model_of(text, w=(8, 3, 3, 3)), tmp_path))
    assert calibration_data(network, load_config("int8"), None).arrays.keys() == {"x"}
