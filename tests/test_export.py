"""`bfpc export`: the exported model gives, in onnxruntime, what the build gives, in every bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

import bfpc
from bfpc.cli import main
from bfpc.config import load_config
from bfpc.export import export
from bfpc.pipeline import compile_model
from tests.networks.divided import random_inputs
from tests.networks.onnx_writer import OnnxWriter
from tests.test_runtime import build_of, ends_in_indices, pictures, with_host_between

NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "host segments between": with_host_between,
    "any batch": lambda: with_host_between("batch"),
    "integers at the end": ends_in_indices,
}


@pytest.mark.parametrize("preset", ["int8", "int54"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_the_exported_model_gives_the_builds_bits(
    network: Callable[[], onnx.ModelProto], preset: str, tmp_path: Path
) -> None:
    build = build_of(network(), tmp_path, preset)
    written = export(build, tmp_path / "quantized.onnx")
    onnx.checker.check_model(tmp_path / "quantized.onnx")
    assert written.bytes == (tmp_path / "quantized.onnx").stat().st_size
    ours, theirs = bfpc.load(build), ort.InferenceSession(tmp_path / "quantized.onnx")
    assert [info.name for info in theirs.get_inputs()] == list(written.inputs)
    assert [info.name for info in theirs.get_outputs()] == [info.name for info in ours.get_outputs()]
    for image in pictures(4, seed=3)[:, np.newaxis]:
        for found, expected in zip(theirs.run(None, {"input0": image}), ours.run({"input0": image}), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_heads_that_the_host_joins_take_any_number_of_images(tmp_path: Path) -> None:
    """A detector's heads: positions are joined by Reshape and Concat, whose sizes were made for one image."""
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    x = net.input(1, 3, 12, 12)
    rows = []
    for channels in (16, 32):
        scores = net.node("Conv", [x.name, net.normal(channels, 3, 3, 3)], (1, channels, 12, 12), pads=[1, 1, 1, 1])
        last = net.node("Transpose", [scores.name], (1, 12, 12, channels), perm=[0, 2, 3, 1])
        rows.append(net.reshape(last, (1, 36 * channels, 4)))
    joined = net.node("Concat", [row.name for row in rows], (1, 1728, 4), axis=1)
    build = build_of(net.finish("heads", [joined], batch="batch"), tmp_path)
    export(build, tmp_path / "quantized.onnx")
    images = pictures(3, seed=4)
    [found] = ort.InferenceSession(tmp_path / "quantized.onnx").run(None, {"input0": images})
    np.testing.assert_array_equal(found, bfpc.load(build).run({"input0": images})[0])


def halves() -> onnx.ModelProto:
    """Inputs and outputs of two bytes, a crossing to the host among them, and an input that nothing reads."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    halves (float16[N, 3, 8, 8] x, float[N, 5] unused) => (float16[N, 8, 8, 8] a, float16[N, 8, 8, 8] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = Softmax <axis = 1> (a)
    }"""
    return with_weights(text, w=(8, 3, 3, 3), kind=np.float16)


def chosen_by_an_index() -> onnx.ModelProto:
    """One image, and a row of a constant that an integer chooses."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    chosen (float[1, 3, 8, 8] x, int64[1] index) => (float[1, 8, 8, 8] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        row = Gather (rows, index)
        y = Mul (a, row)
    }"""
    return with_weights(text, w=(8, 3, 3, 3), rows=(10, 8, 1, 1))


def looped() -> onnx.ModelProto:
    """An output whose shape nothing declares or tells."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    looped (float[1, 3, 8, 8] x) => (float[1, 8, 8, 8] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        three = Constant <value_int = 3> ()
        yes = Cast <to = 9> (three)
        y = Loop (three, yes, a) <
            body = step (int64 i, bool go, float[1, 8, 8, 8] b) => (bool on, float[1, 8, 8, 8] c) {
                on = Identity (go)
                c = Neg (b)
            }
        >
    }"""
    model = with_weights(text, w=(8, 3, 3, 3))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def with_weights(text: str, kind: type[np.floating] = np.float32, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    model, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape).astype(kind) for name, shape in shapes.items()}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tensors.items())
    return model


@pytest.mark.parametrize("network", [halves, chosen_by_an_index, looped])
def test_the_export_takes_and_gives_what_the_network_does(
    network: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    """The inputs of one run in the other, types and sizes of batches among them."""
    model, build = network(), tmp_path / "build"
    onnx.save(model, tmp_path / "network.onnx")
    compile_model(tmp_path / "network.onnx", load_config("int8"), build)
    export(build, tmp_path / "quantized.onnx")
    ours, theirs = bfpc.load(build), ort.InferenceSession(tmp_path / "quantized.onnx")
    signatures = [
        [(info.name, info.type, info.shape) for info in (*session.get_inputs(), *session.get_outputs())]
        for session in (ort.InferenceSession(model.SerializeToString()), theirs)
    ]
    assert signatures[1] == signatures[0]
    feeds = random_inputs(model)
    for found, expected in zip(theirs.run(None, feeds), ours.run(feeds), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_an_input_that_nothing_reads_takes_as_many_images_as_the_others(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    unused (float[1, 3, 8, 8] x, float[1, 5] unused) => (float[1, 8, 8, 8] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }
    """
    onnx.save(with_weights(text, w=(8, 3, 3, 3)), tmp_path / "network.onnx")
    compile_model(tmp_path / "network.onnx", load_config("int8"), tmp_path / "build")
    export(tmp_path / "build", tmp_path / "quantized.onnx")
    feeds = {"x": pictures(3)[:, :, :8, :8], "unused": np.zeros((3, 5), np.float32)}
    [found] = ort.InferenceSession(tmp_path / "quantized.onnx").run(None, feeds)
    np.testing.assert_array_equal(found, bfpc.load(tmp_path / "build").run(feeds)[0])


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    build, output = build_of(with_host_between(), tmp_path), tmp_path / "exported.onnx"
    result = CliRunner().invoke(main, ["export", str(build), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert f"{output}: input0 -> flatten" in result.stdout
    assert "nodes of opset" in result.stdout
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
