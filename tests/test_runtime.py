"""Builds that run: names, shapes and types as onnxruntime has them, stages, devices, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import bfpc
from bfpc.backend.build_folder import read_build
from bfpc.config import load_config
from bfpc.emulator.session import Emulator, real_values, stored_inputs
from bfpc.errors import BuildError, DataError
from bfpc.ir.layout import to_onnx
from bfpc.pipeline import compile_model
from bfpc.runtime.devices import emulator_device
from bfpc.runtime.execution import Executor
from bfpc.verify import verify
from tests.networks.onnx_writer import OnnxWriter, Tensor

SIZE = 12
Feeds = dict[str, NDArray[Any]]


def conv(net: OnnxWriter, x: Tensor, channels: int) -> Tensor:
    y = net.node(
        "Conv", [x.name, net.normal(channels, x.shape[1], 3, 3, scale=0.2)], (1, channels, *SHAPE), pads=[1] * 4
    )
    return net.node("Relu", [y.name], y.shape)


SHAPE = (SIZE, SIZE)


def sorted_along_rows(net: OnnxWriter, x: Tensor) -> Tensor:
    """What no accelerator does: the rows' elements in order."""
    count = net.constant(np.array([SIZE], np.int64))
    net.nodes.append(helper.make_node("TopK", [x.name, count], [f"{x.name}.sorted", f"{x.name}.places"], axis=3))
    return Tensor(f"{x.name}.sorted", x.shape)


def with_host_between(batch: str | int = 1) -> onnx.ModelProto:
    """Accelerator, host, accelerator, host, accelerator; the first stage is read again in the second and the last."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    first = conv(net, net.input(1, 3, *SHAPE), 16)
    second = conv(net, sorted_along_rows(net, first), 16)
    joined = net.node("Concat", [second.name, first.name], (1, 32, *SHAPE), axis=1)
    third = conv(net, sorted_along_rows(net, conv(net, joined, 8)), 16)
    total = net.node("Add", [third.name, first.name], third.shape)
    pooled = net.node("GlobalAveragePool", [total.name], (1, 16, 1, 1))
    scores = net.node("Flatten", [pooled.name], (1, 16))
    return net.finish("between", [scores, second], batch=batch)


def ends_in_indices() -> onnx.ModelProto:
    """A class for each image, and the places of the positive scores, however many there are."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.node("GlobalAveragePool", [conv(net, net.input(1, 3, *SHAPE), 16).name], (1, 16, 1, 1))
    logits = net.node("Gemm", [net.node("Flatten", [x.name], (1, 16)).name, net.normal(16, 10)], (1, 10))
    best = net.node("ArgMax", [logits.name], (1,), axis=1, keepdims=0)
    places = net.node("NonZero", [net.node("Relu", [logits.name], (1, 10)).name], (2, 10))
    model = net.finish("indices", [], batch=1)
    model.graph.output.extend(
        [
            helper.make_tensor_value_info(best.name, TensorProto.INT64, [1]),
            helper.make_tensor_value_info(places.name, TensorProto.INT64, [2, None]),
        ]
    )
    return model


def build_of(model: onnx.ModelProto, folder: Path, preset: str = "int8") -> Path:
    onnx.save(model, folder / "network.onnx")
    np.save(folder / "calibration.npy", pictures(8, seed=2))
    compile_model(folder / "network.onnx", load_config(preset), folder / "build", folder / "calibration.npy")
    return folder / "build"


def pictures(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 3, *SHAPE), np.float32)


@pytest.fixture(autouse=True)
def compile_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1")


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_of(with_host_between("batch"), tmp_path_factory.mktemp("between"))


# -- as onnxruntime has it --------------------------------------------------------------------------------------------


def test_inputs_and_outputs_are_described_as_by_onnxruntime(between: Path) -> None:
    session, original = bfpc.load(between), ort.InferenceSession(with_host_between("batch").SerializeToString())
    for ours, theirs in (
        (session.get_inputs(), original.get_inputs()),
        (session.get_outputs(), original.get_outputs()),
    ):
        assert [(info.name, list(info.shape), info.type) for info in ours] == [
            (info.name, info.shape, info.type) for info in theirs
        ]


def test_outputs_come_in_the_order_asked_for(between: Path) -> None:
    session, feeds = bfpc.load(str(between)), {"input0": pictures(1)}
    names = [info.name for info in session.get_outputs()]
    outputs = session.run(None, feeds)
    for found in (
        session.run(feeds),
        session.run(names[::-1], feeds)[::-1],
        [session.run([n], feeds)[0] for n in names],
    ):
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, outputs, strict=True))


def test_values_are_close_to_the_original_networks(tmp_path: Path) -> None:
    model = with_host_between()
    session = bfpc.load(build_of(model, tmp_path, "int12"))
    original = ort.InferenceSession(model.SerializeToString())
    for ours, theirs in zip(
        session.run({"input0": pictures(1)}), original.run(None, {"input0": pictures(1)}), strict=True
    ):
        assert ours.shape == theirs.shape
        assert np.square(ours - theirs).sum() < 1e-4 * np.square(theirs).sum()


@pytest.mark.parametrize("batch", ["any", 1, 4])
def test_any_number_of_images_runs_whatever_the_models_batch(batch: str | int, tmp_path: Path) -> None:
    session = bfpc.load(build_of(with_host_between(batch), tmp_path))
    images = pictures(5)
    together = session.run({"input0": images})
    for index in range(5):
        for whole, alone in zip(together, session.run({"input0": images[index : index + 1]}), strict=True):
            np.testing.assert_array_equal(whole[index : index + 1], alone)


def test_an_output_without_an_axis_of_images_takes_one_at_a_time(tmp_path: Path) -> None:
    session = bfpc.load(build_of(ends_in_indices(), tmp_path))
    (best, places), best_name = session.run({"input0": pictures(1)}), session.get_outputs()[0].name
    assert [str(array.dtype) for array in (best, places)] == ["int64", "int64"]
    assert places.shape[0] == 2
    assert session.run([best_name], {"input0": pictures(3)})[0].shape == (3,)
    with pytest.raises(DataError, match=r"without an axis of images\n.*\n  fix: give 1 image\(s\) at a time"):
        session.run({"input0": pictures(3)})


FAULTS: dict[str, tuple[Callable[[], Feeds], str]] = {
    "no input": (dict, "input0 is missing"),
    "another name": (lambda: {"input0": pictures(1), "x": pictures(1)}, "the network has no input x"),
    "another size": (lambda: {"input0": pictures(1)[:, :, 1:]}, r"shape \[1, 3, 11, 12\] does not fit"),
    "another rank": (lambda: {"input0": pictures(1)[0]}, r"shape \[3, 12, 12\] does not fit"),
    "no images": (lambda: {"input0": pictures(0)}, r"shape \[0, 3, 12, 12\] does not fit"),
    "another type": (lambda: {"input0": pictures(1).astype(np.float64)}, "an array of float64 does not fit"),
    "no numbers": (lambda: {"input0": pictures(1) * np.nan}, "NaN or infinity"),
}


@pytest.mark.parametrize(("feeds", "message"), FAULTS.values(), ids=list(FAULTS))
def test_feeds_that_do_not_fit_are_refused_with_what_does(
    between: Path, feeds: Callable[[], Feeds], message: str
) -> None:
    session = bfpc.load(between)
    with pytest.raises(DataError, match=rf"(?s){message}.*(tensor\(float\) \[batch, 3, 12, 12\]|leave)"):
        session.run(feeds())


def test_outputs_and_devices_that_do_not_exist_are_refused(between: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no output nothing.*it has flatten"):
        bfpc.load(between).run(["nothing"], {"input0": pictures(1)})
    with pytest.raises(DataError, match="give emulator or csim"):
        bfpc.load(between, "board")  # type: ignore[arg-type]


# -- stages and devices -----------------------------------------------------------------------------------------------


def test_stages_one_after_the_other_are_the_whole_graph_at_once(between: Path) -> None:
    build = read_build(between)
    assert len(build.manifest["stages"]) == 3
    executor = Executor(build.graph, build.host, emulator_device(build.graph), str(between))
    tensors = executor.run({"input0": pictures(2)}).tensors
    inputs = real_values(stored_inputs(build.graph, tensors))
    outputs = Emulator(build.graph, [port.value for port in build.graph.outputs]).run(inputs)
    for port in build.graph.outputs:
        np.testing.assert_array_equal(to_onnx(outputs[port.value], port.axes), tensors[port.name])


def test_the_c_simulation_gives_the_emulators_outputs(between: Path) -> None:
    feeds = {"input0": pictures(2)}
    emulated, simulated = bfpc.load(between).run(feeds), bfpc.load(between, "csim").run(feeds)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(emulated, simulated, strict=True))


def test_a_folder_that_cannot_be_written_stays_as_it_is(between: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (between / "hls" / "csim").unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in between.rglob("*")}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != between / "hls" and access(path, mode))
    bfpc.load(between, "csim").run({"input0": pictures(1)})
    assert {path: path.stat().st_mtime_ns for path in between.rglob("*")} == before


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, bfpc; assert not {'numpy', 'onnx', 'onnxruntime'} & set(sys.modules); bfpc.load"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ})
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        _ = bfpc.unload


# -- what the host reads ----------------------------------------------------------------------------------------------

RESCALED = """<ir_version: 8, opset_import: ["" : 17]>
rescaled (uint8[N, 12, 12, 3] image, int64[1] places) => (float[N, 16, 10, 10] y, float[N, 1, 10, 10] chosen)
<float[16, 3, 3, 3] w> {
  real = Cast<to: int = 1>(image)
  x = Transpose<perm = [0, 3, 1, 2]>(real)
  y = Conv(x, w)
  chosen = Gather<axis = 1>(y, places)
}"""
UNKNOWN = """<ir_version: 8, opset_import: ["" : 17, "ours" : 1]>
unknown (float[1, 3, 12, 12] x) => (float[1, 16, 10, 10] y)
<float[16, 3, 3, 3] w, float[1, 3, 12, 12] sharp> {
  sharp = ours.Sharpen(x)
  y = Conv(sharp, w)
}"""


def parsed(text: str) -> onnx.ModelProto:
    """A model in ONNX's text form, with random weights `w`."""
    model = onnx.parser.parse_model(text)
    weight = 0.2 * np.random.default_rng(0).standard_normal((16, 3, 3, 3))
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight.astype(np.float32), "w"))
    return model


def test_inputs_that_only_the_host_reads_have_their_own_types(tmp_path: Path) -> None:
    onnx.save(parsed(RESCALED), tmp_path / "network.onnx")
    compile_model(tmp_path / "network.onnx", load_config("int12"), tmp_path / "build")
    session = bfpc.load(tmp_path / "build")
    assert [str(info) for info in session.get_inputs()] == [
        "image: tensor(uint8) [N, 12, 12, 3]",
        "places: tensor(int64) [1]",
    ]
    images = np.random.default_rng(0).integers(0, 2, (3, 12, 12, 3), np.uint8)
    y, chosen = session.run({"image": images, "places": np.array([7])})
    np.testing.assert_array_equal(chosen, y[:, 7:8])


def test_operators_that_onnxruntime_lacks_are_named(tmp_path: Path) -> None:
    onnx.save(parsed(UNKNOWN), tmp_path / "network.onnx")
    compile_model(tmp_path / "network.onnx", load_config("int8"), tmp_path / "build")
    with pytest.raises(BuildError, match=r"onnxruntime cannot run ours\.Sharpen"):
        bfpc.load(tmp_path / "build")
    with pytest.raises(BuildError, match=r"(?s)onnxruntime cannot run ours\.Sharpen.*verify --csim"):
        verify(tmp_path / "build")
    found = verify(tmp_path / "build", csim=True)
    assert (found.passed, found.bit_exact, found.outputs) == (True, True, ())
    assert "ours.Sharpen" in found.warnings[-1]
