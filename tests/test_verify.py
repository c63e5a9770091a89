"""Verification: the original beside the build, thresholds, and differences in bits named where they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from bfpc import verify
from bfpc.backend.bit_packing import Words
from bfpc.backend.build_folder import read_build
from bfpc.backend.trace import input_names, pack_maps, trace_names
from bfpc.config import Config, load_config
from bfpc.emulator.session import Emulator, real_values, stored_inputs
from bfpc.errors import BuildError, DataError
from bfpc.ir.layout import to_onnx
from bfpc.numerics.format import BfpTensor
from bfpc.pipeline import compile_model, first_image
from bfpc.runtime.simulation import build_simulation, run_simulation
from tests.networks.onnx_writer import OnnxWriter
from tests.test_runtime import build_of, ends_in_indices, with_host_between

IMAGES = 5


def classifier(batch: int | str = "batch") -> onnx.ModelProto:
    """A convolution in channels-last layout, and a classifier whose softmax the host computes."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 6, 6, 3)
    x = net.node("Transpose", [x.name], (1, 3, 6, 6), perm=[0, 3, 1, 2])
    x = net.node("Conv", [x.name, net.normal(16, 3, 3, 3, scale=0.2)], (1, 16, 4, 4))
    x = net.node("Relu", [x.name], x.shape)
    flat = net.node("Flatten", [x.name], (1, 256))
    logits = net.node("Gemm", [flat.name, net.normal(256, 10, scale=0.1), net.normal(10)], (1, 10))
    return net.finish("classifier", [net.node("Softmax", [logits.name], (1, 10)), logits], batch=batch)


def uniform(bits: int) -> Config:
    """Mantissas of so many bits throughout, except for what the host reads."""
    width = {"mantissa_bits": bits}
    formats = {"activation": width, "weight": width, "output": {"mantissa_bits": 12}}
    return Config.model_validate({"formats": formats, "calibration": {"images": 32}})


def ends_in_flatten_and_softmax() -> onnx.ModelProto:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 3, 6, 6)
    x = net.node("Conv", [x.name, net.normal(10, 3, 3, 3)], (1, 10, 4, 4))
    x = net.node("GlobalAveragePool", [x.name], (1, 10, 1, 1))
    x = net.node("Flatten", [x.name], (1, 10))
    return net.finish("squeezed", [net.node("Softmax", [x.name], (1, 10))])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "pictures.npy"
    np.save(path, np.random.default_rng(1).standard_normal((IMAGES, 6, 6, 3), np.float32))
    return path


@pytest.fixture(scope="module")
def build(pictures: Path) -> Path:
    model = pictures.with_name("classifier.onnx")
    onnx.save(classifier(), model)
    compile_model(model, load_config("int54"), pictures.with_name("build"), calibration=pictures)
    return pictures.with_name("build")


def run_original(pictures: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(classifier().SerializeToString())
    return list(session.run(None, {"input0": pictures}))


def test_outputs_are_compared_with_the_original_network_over_all_images(build: Path, pictures: Path) -> None:
    found = {output.name: output for output in verify.verify(build, pictures).outputs}
    probabilities, logits = run_original(np.load(pictures))
    graph = read_build(build).graph
    inputs = real_values(stored_inputs(graph, {"input0": np.load(pictures)}))
    port = next(port for port in graph.outputs if port.name == "gemm4")
    emulated = to_onnx(Emulator(graph, [port.value]).run(inputs)[port.value], port.axes)
    noise = np.square(emulated - logits, dtype=np.float64).sum()
    assert found.keys() == {"softmax5", "gemm4"}
    assert found["gemm4"].sqnr_db == pytest.approx(10 * np.log10(np.square(logits, dtype=np.float64).sum() / noise))
    assert found["gemm4"].max_abs_error == pytest.approx(np.abs(emulated - logits).max())
    same = (emulated.argmax(axis=1) == logits.argmax(axis=1)).mean()
    assert found["gemm4"].top1_agreement == found["softmax5"].top1_agreement == same
    exact = np.exp(emulated) / np.exp(emulated).sum(axis=1, keepdims=True)
    assert found["softmax5"].max_abs_error == pytest.approx(np.abs(exact - probabilities).max(), rel=1e-4)


def test_layers_are_compared_where_the_original_has_their_tensors(build: Path, pictures: Path) -> None:
    found = verify.verify(build, pictures, count=1)
    assert [layer.name for layer in found.layers] == ["relu2", "gemm4"]
    assert all(15 < (layer.sqnr_db or 0.0) < 60 for layer in found.layers)
    assert found.bit_exact is None
    assert found.passed


def test_a_map_that_streams_is_compared_though_nothing_stores_it(tmp_path: Path) -> None:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.node("Conv", [net.input(1, 3, 6, 6).name, net.normal(40, 3, 1, 1)], (1, 40, 6, 6))
    streamed = net.node("Relu", [x.name], x.shape)
    filters = net.normal(40, 1, 3, 3, scale=0.3)
    filtered = net.node("Conv", [streamed.name, filters], (1, 40, 6, 6), group=40, pads=[1, 1, 1, 1])
    onnx.save(net.finish("separable", [filtered]), tmp_path / "separable.onnx")
    compile_model(tmp_path / "separable.onnx", load_config("int8"), tmp_path / "build")
    assert trace_names(read_build(tmp_path / "build").graph) == (filtered.name,)
    found = verify.verify(tmp_path / "build", count=1, csim=True)
    assert [layer.name for layer in found.layers] == [streamed.name, filtered.name]
    assert all((layer.sqnr_db or 0.0) > 30 for layer in found.layers)
    assert found.bit_exact


def test_layers_are_not_compared_where_their_maps_are_scaled(pictures: Path, tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "classifier.onnx")
    config = Config.model_validate({"passes": {"equalize": True}})
    compile_model(tmp_path / "classifier.onnx", config, tmp_path / "build", pictures)
    found = verify.verify(tmp_path / "build", pictures, count=1)
    assert found.layers == ()
    assert found.warnings == (verify.SCALED,)
    assert all((output.sqnr_db or 99) > 30 for output in found.outputs)


def test_the_host_may_begin_behind_a_change_of_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a folder: with a name"
    onnx.save(ends_in_flatten_and_softmax(), tmp_path / "squeezed.onnx")
    compile_model(tmp_path / "squeezed.onnx", load_config("int8"), folder)
    monkeypatch.setenv("CXXFLAGS", "-O1")
    found = verify.verify(folder, csim=True)
    assert [output.name for output in found.outputs] == ["softmax3"]
    assert found.passed


def test_what_the_host_computes_in_between_is_verified_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1")
    build = build_of(with_host_between("batch"), tmp_path)
    found = verify.verify(build, tmp_path / "calibration.npy", csim=True)
    assert [output.name for output in found.outputs] == ["flatten13", "relu4"]
    assert len(found.layers) == 5
    assert all((row.sqnr_db or 0.0) > 30 for row in (*found.outputs, *found.layers))
    assert found.bit_exact


def test_classes_and_indices_are_compared_by_agreement(tmp_path: Path) -> None:
    build = build_of(ends_in_indices(), tmp_path, "int12")
    best, places = verify.verify(build, tmp_path / "calibration.npy").outputs
    assert (best.agreement, best.sqnr_db) == (1.0, None)
    assert places.agreement is not None


def test_wider_formats_come_closer(tmp_path: Path) -> None:
    """By about 6 dB a bit, on images that calibration has not seen."""
    images = np.random.default_rng(1).standard_normal((160, 6, 6, 3), np.float32).clip(-2, 2)
    np.save(tmp_path / "calibration.npy", images[:32])
    np.save(tmp_path / "others.npy", images[32:])
    onnx.save(classifier(), tmp_path / "classifier.onnx")
    figures = []
    for bits in (4, 6, 8, 12):
        config = uniform(bits)
        compile_model(tmp_path / "classifier.onnx", config, tmp_path / "build", tmp_path / "calibration.npy")
        outputs = verify.verify(tmp_path / "build", tmp_path / "others.npy", count=None).outputs
        figures.append(next(output.sqnr_db or 0.0 for output in outputs if output.name == "gemm4"))
    assert all(wide > narrow + 8 for narrow, wide in pairwise(figures))
    assert figures[-1] > 55


@pytest.mark.parametrize(
    ("demanded", "failure"),
    [
        ({"min_sqnr_db": 99.0}, "dB, 99 are demanded"),
        ({"min_sqnr_db": 1.0, "min_top1_agreement": 0.0}, None),
    ],
)
def test_thresholds_of_the_config_decide(
    demanded: dict[str, float], failure: str | None, pictures: Path, tmp_path: Path
) -> None:
    onnx.save(classifier(), tmp_path / "classifier.onnx")
    compile_model(
        tmp_path / "classifier.onnx", Config.model_validate({"verify": demanded}), tmp_path / "build", pictures
    )
    found = verify.verify(tmp_path / "build", pictures)
    assert found.passed == (failure is None)
    assert all(str(failure) in text for text in found.failures)
    assert len(found.failures) == (0 if failure is None else 2)


def test_agreement_of_classes_cannot_be_demanded_of_an_output_without_any(tmp_path: Path) -> None:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 3, 6, 6)
    onnx.save(net.finish("network", [net.node("Relu", [x.name], (1, 3, 6, 6))]), tmp_path / "map.onnx")
    demanded = Config.model_validate({"verify": {"min_top1_agreement": 0.5}})
    compile_model(tmp_path / "map.onnx", demanded, tmp_path / "build")
    assert verify.verify(tmp_path / "build").failures == (
        "min_top1_agreement is demanded, but no output holds class scores",
    )


# -- scores -----------------------------------------------------------------------------------------------------------

METRIC = """
def right_and_sure(outputs, reference, labels):
    return [scores[label] for scores, label in zip(outputs["softmax5"], labels)]
"""


@pytest.fixture(scope="module")
def labels(pictures: Path) -> Path:
    """What the original network says of all images but the last."""
    path = pictures.with_name("labels.npy")
    classes = run_original(np.load(pictures))[0].argmax(axis=1)
    np.save(path, [*classes[:-1], (classes[-1] + 1) % 10])
    return path


def test_labels_score_the_build_beside_the_float_network(build: Path, pictures: Path, labels: Path) -> None:
    found = verify.verify(build, pictures, labels=labels, count=None)
    scores = {pair.build.name: pair for pair in found.scores}
    assert list(scores) == ["top1", "top5", "top1_agreement", "top5_agreement"]
    top1, agreement = scores["top1"], scores["top1_agreement"]
    assert top1.float32 is not None
    assert top1.float32.value == 0.8
    assert (top1.float32.low, top1.float32.high) == pytest.approx((0.3755, 0.9638), abs=1e-4)
    assert all(pair.build.images == IMAGES for pair in found.scores)
    assert (agreement.build.value, agreement.float32) == (found.outputs[0].top1_agreement, None)


def test_what_fills_up_the_last_batch_does_not_count(pictures: Path, labels: Path, tmp_path: Path) -> None:
    onnx.save(classifier(batch=3), tmp_path / "classifier.onnx")
    compile_model(tmp_path / "classifier.onnx", load_config("int54"), tmp_path / "build", pictures)
    top1, *_ = verify.verify(tmp_path / "build", pictures, labels=labels).scores
    assert top1.float32 is not None
    assert (top1.build.images, top1.float32.value) == (IMAGES, 0.8)


def test_without_labels_the_float_network_is_the_truth(build: Path, pictures: Path) -> None:
    assert [pair.build.name for pair in verify.verify(build, pictures).scores] == ["top1_agreement", "top5_agreement"]


def test_a_function_of_the_users_scores_both(
    build: Path, pictures: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "verify_metrics.py").write_text(METRIC)
    monkeypatch.syspath_prepend(str(tmp_path))
    (pair,) = verify.verify(build, pictures, labels=labels, metric="verify_metrics:right_and_sure").scores
    probabilities = run_original(np.load(pictures))[0]
    expected = probabilities[np.arange(IMAGES), np.load(labels)].mean()
    assert pair.float32 is not None
    assert pair.build.name == "right_and_sure"
    assert pair.float32.value == pytest.approx(expected)
    assert pair.build.value == pytest.approx(expected, rel=0.3)


def test_scores_that_are_too_low_or_missing_fail_the_verification(pictures: Path, labels: Path, tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "classifier.onnx")
    demanded = Config.model_validate({"verify": {"min_score": {"top1": 0.9, "top5": 0.1, "iou": 0.5}}})
    compile_model(tmp_path / "classifier.onnx", demanded, tmp_path / "build", pictures)
    assert verify.verify(tmp_path / "build", pictures, labels=labels).failures == (
        "iou is demanded, but measured were top1, top5, top1_agreement, top5_agreement",
        "top1 is 0.8, 0.9 are demanded",
    )


def test_labels_that_do_not_fit_are_errors(build: Path, pictures: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.full(IMAGES, 10))
    with pytest.raises(DataError, match="a label is 10, the output softmax5 has 10 classes"):
        verify.verify(build, pictures, labels=tmp_path / "labels.npy")
    with pytest.raises(DataError, match="labels without inputs"):
        verify.verify(build, labels=tmp_path / "labels.npy")


# -- the C simulation -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(build: Path, pictures: Path) -> tuple[dict[str, BfpTensor], Words]:
    """What the emulator stores, and the words of the C simulation."""
    read = read_build(build)
    inputs = stored_inputs(read.graph, {"input0": np.load(pictures)[:1]})
    stored = Emulator(read.graph, trace_names(read.graph), stored=True).run_stored(real_values(inputs))
    words = pack_maps(input_names(read.graph), first_image(inputs), read.group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXXFLAGS", "-O1")
        return first_image(stored), run_simulation(build, build_simulation(build), words)


def test_equal_bits_are_no_difference(build: Path, simulated: tuple[dict[str, BfpTensor], Words]) -> None:
    assert verify.find_difference(read_build(build), *simulated) is None


def test_one_changed_mantissa_or_offset_is_named_with_its_layer_and_place(
    build: Path, simulated: tuple[dict[str, BfpTensor], Words]
) -> None:
    stored, words = simulated
    for part, place in (("mantissas", (5, 2, 3)), ("offsets", (0, 1, 2))):
        changed = getattr(stored["relu2"], part).copy()
        changed[place] ^= 1
        expected = {**stored, "relu2": replace(stored["relu2"], **{part: changed})}
        found = verify.find_difference(read_build(build), expected, words)
        ours, theirs = changed[place], changed[place] ^ 1
        assert found == (
            f"layer relu2 differs: {part} at {place} are {theirs} in the C simulation, {ours} in the emulator"
        )


def test_every_flipped_bit_of_a_trace_is_seen(build: Path, simulated: tuple[dict[str, BfpTensor], Words]) -> None:
    stored, words = simulated
    read = read_build(build)
    for bit in range(0, len(words) * 64, 257):
        flipped = words.copy()
        flipped[bit // 64] ^= np.uint64(1 << bit % 64)
        assert verify.find_difference(read, stored, flipped) is not None
    assert verify.find_difference(read, stored, words[:-1]) is not None


def test_a_difference_fails_the_verification(build: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(folder: Path, executable: Path, inputs: Words) -> Words:
        words = run_simulation(folder, executable, inputs).copy()
        words[0] ^= np.uint64(8)
        return words

    monkeypatch.setenv("CXXFLAGS", "-O1")
    monkeypatch.setattr(verify, "run_simulation", simulate)
    found = verify.verify(build, pictures, csim=True)
    assert (found.passed, found.bit_exact) == (False, False)
    assert found.failures[0].startswith("layer relu2 differs: mantissas at (0, 0, 0)")


def test_a_simulation_that_stops_says_why(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1")
    with pytest.raises(BuildError, match="the C simulation failed: "):
        run_simulation(build, build_simulation(build), np.zeros(1, np.uint64))


def test_sources_that_do_not_compile_say_where(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1 -DLayer=1")
    (build / "hls" / "csim").unlink(missing_ok=True)
    with pytest.raises(BuildError, match=r"(?s)does not compile:.*error:.*check CXX and CXXFLAGS"):
        build_simulation(build)
