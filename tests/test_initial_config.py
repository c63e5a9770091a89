"""`bfpc init`: a config that says of the network what is known, and changes nothing but what it says it assumes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
import yaml
from click.testing import CliRunner
from onnx import TensorProto

from bfpc.cli import main
from bfpc.config import Config, load_config
from bfpc.config_schema import config_schema
from bfpc.errors import BuildError
from bfpc.frontend.reader import read_model
from bfpc.initial_config import SCHEMA, Started, write_initial_config
from bfpc.ir.operators import Depthwise
from bfpc.passes.assign_formats import layer_formats
from bfpc.pipeline import Dump, compile_model, float_passes, run_passes
from tests.conftest import Golden
from tests.networks.onnx_writer import OnnxWriter, Tensor

SIZE = 8


def conv(net: OnnxWriter, x: Tensor, channels: int, kernel: int, group: int = 1) -> Tensor:
    weight = net.normal(channels, x.shape[1] // group, kernel, kernel, scale=0.2)
    shape = (1, channels, *x.shape[2:])
    y = net.node("Conv", [x.name, weight], shape, pads=[kernel // 2] * 4, group=group)
    return net.node("Relu", [y.name], shape)


def separable(net: OnnxWriter) -> list[Tensor]:
    """A first convolution, two depthwise ones, and a classifier that ends on the host."""
    x = conv(net, net.input(1, 3, SIZE, SIZE), 8, 3)
    for channels in (16, 16):
        x = conv(net, conv(net, x, x.shape[1], 3, group=x.shape[1]), channels, 1)
    pooled = net.node("GlobalAveragePool", [x.name], (1, 16, 1, 1))
    flat = net.node("Flatten", [pooled.name], (1, 16))
    scores = net.node("Gemm", [flat.name, net.normal(16, 10)], (1, 10))
    return [net.node("Softmax", [scores.name], (1, 10))]


def saved(folder: Path, build: Callable[[OnnxWriter], list[Tensor]], batch: int | str = "batch") -> Path:
    net = OnnxWriter(np.random.default_rng(0), opset=17)
    onnx.save(net.finish("network", build(net), batch=batch), folder / "net.onnx")
    return folder / "net.onnx"


def started(folder: Path, build: Callable[[OnnxWriter], list[Tensor]], preset: str = "int8") -> str:
    """The text of the config for a network."""
    write_initial_config(saved(folder, build), folder / "bfpc.yaml", preset)
    return (folder / "bfpc.yaml").read_text()


def test_the_config_of_a_small_network(tmp_path: Path, golden: Golden) -> None:
    golden("init/separable.yaml", started(tmp_path, separable, "int54"))


@pytest.mark.parametrize("preset", ["int8", "int54", "int4"])
def test_every_layer_has_the_formats_of_the_preset(tmp_path: Path, preset: str) -> None:
    started(tmp_path, separable, preset)
    config, given = load_config(tmp_path / "bfpc.yaml"), load_config(preset)
    graph = run_passes(read_model(tmp_path / "net.onnx").graph, float_passes(given), Dump(None))
    by_name = config.model_copy(update={"overrides": config.overrides[len(given.overrides) :]})
    for node in graph.layers:
        weight = "depthwise_weight" if isinstance(node.op, Depthwise) else "weight"
        theirs = layer_formats(graph, given, node)
        for ours in (layer_formats(graph, config, node), layer_formats(graph, by_name, node)):
            assert (ours.activation, getattr(ours, weight)) == (theirs.activation, getattr(theirs, weight))


def test_it_compiles_and_every_override_has_a_layer(tmp_path: Path) -> None:
    started(tmp_path, separable)
    compiled = compile_model(tmp_path / "net.onnx", load_config(tmp_path / "bfpc.yaml"), tmp_path / "build")
    assert not [warning for warning in compiled.warnings if "override" in warning]


def test_it_keeps_to_the_schema_that_lies_beside_it(tmp_path: Path) -> None:
    text = started(tmp_path, separable)
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA}\n")
    schema = json.loads((tmp_path / SCHEMA).read_text())
    assert schema == config_schema()
    jsonschema.validate(yaml.safe_load(text), schema)


@pytest.mark.parametrize("section", ["passes", "training", "architecture"])
def test_a_section_that_is_commented_out_says_what_holds(tmp_path: Path, section: str) -> None:
    text = started(tmp_path, separable)
    lines = re.search(rf"^# {section}:\n(#   .*\n)+", text, re.MULTILINE)
    assert lines
    (tmp_path / "all.yaml").write_text(text + lines[0].replace("# ", "", 1).replace("\n#   ", "\n  "))
    written, left = load_config(tmp_path / "all.yaml"), load_config(tmp_path / "bfpc.yaml")
    assert dict(getattr(written, section)) == dict(getattr(left, section))
    assert getattr(written, section).model_fields_set == type(getattr(written, section)).model_fields.keys()


@pytest.mark.parametrize("line", ["# calibration:", "# verify:", "# budget:", "  # resize:", "  # crop:"])
def test_every_example_is_valid(tmp_path: Path, line: str) -> None:
    text = started(tmp_path, separable)
    assert text.count(line) == 1
    (tmp_path / "bfpc.yaml").write_text(text.replace(line, line.replace("# ", "")))
    assert isinstance(load_config(tmp_path / "bfpc.yaml"), Config)


# -- what follows from the network ------------------------------------------------------------------------------------


def test_gray_pictures_have_one_mean_and_no_order(tmp_path: Path) -> None:
    text = started(tmp_path, lambda net: [conv(net, net.input(1, 1, SIZE, SIZE), 4, 3)])
    assert "  mean: [0.0]  # subtracted after that\n" in text
    assert "channels: RGB" not in text


def test_integers_take_pixels_as_they_are(tmp_path: Path) -> None:
    def build(net: OnnxWriter) -> list[Tensor]:
        x = net.input(1, 3, SIZE, SIZE)
        return [conv(net, net.node("Cast", [x.name], x.shape, to=TensorProto.FLOAT), 4, 3)]

    model = onnx.load(saved(tmp_path, build))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, tmp_path / "net.onnx")
    write_initial_config(tmp_path / "net.onnx", tmp_path / "bfpc.yaml")
    assert load_config(tmp_path / "bfpc.yaml").preprocessing.divide == 1


def test_a_network_that_normalizes_by_itself_is_pointed_out(tmp_path: Path) -> None:
    def build(net: OnnxWriter) -> list[Tensor]:
        x = net.input(1, 3, SIZE, SIZE)
        shifted = net.node("Sub", [x.name, net.normal(1, 3, 1, 1)], x.shape)
        return [conv(net, net.node("Mul", [shifted.name, net.normal(1, 3, 1, 1)], x.shape), 4, 3)]

    assert "The network itself begins with Sub, Mul: it may take pixels as they are" in started(tmp_path, build)


def test_without_pictures_nothing_is_assumed(tmp_path: Path) -> None:
    found = write_initial_config(
        saved(tmp_path, lambda net: [conv(net, net.input(1, 16, SIZE, SIZE), 4, 3)]), tmp_path / "bfpc.yaml"
    )
    assert found.assumed == ()
    text = (tmp_path / "bfpc.yaml").read_text()
    assert "data is a .npz with the keys input0" in text
    assert "\npreprocessing:" not in text


def boxes_and_scores(net: OnnxWriter) -> list[Tensor]:
    x = conv(net, net.input(1, 3, SIZE, SIZE), 12, 3)
    half = net.node("Reshape", [x.name, net.constant(np.array([0, -1, 4], np.int64))], (1, 192, 4))
    y = conv(net, x, 9, 3)
    return [half, net.node("Reshape", [y.name, net.constant(np.array([0, -1, 3], np.int64))], (1, 192, 3))]


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (separable, "measure: {kind: classification, output: softmax13}"),
        (boxes_and_scores, "# measure: {kind: detection, detection: {boxes: reshape2, coding: corners}}"),
        (
            lambda net: [conv(net, net.input(1, 3, SIZE, SIZE), 1, 3)],
            "# measure: {kind: segmentation, output: relu1}  # or kind: picture",
        ),
    ],
)
def test_what_is_measured_follows_from_the_outputs(
    tmp_path: Path, build: Callable[[OnnxWriter], list[Tensor]], line: str
) -> None:
    assert f"\n{line}" in started(tmp_path, build)


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_config_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    model, output = saved(tmp_path, separable), tmp_path / "mine.yaml"
    output.write_text("extends: int4\n")
    with pytest.raises(BuildError, match="exists already"):
        write_initial_config(model, output)
    assert output.read_text() == "extends: int4\n"
    assert isinstance(write_initial_config(model, output, force=True), Started)
    assert load_config(output).formats == load_config("int8").formats


def test_another_config_may_lie_beneath(tmp_path: Path) -> None:
    model = saved(tmp_path, separable)
    (tmp_path / "base.yaml").write_text("extends: int4\nverify: {min_sqnr_db: 7}\n")
    (tmp_path / "configs").mkdir()
    write_initial_config(model, tmp_path / "configs" / "net.yaml", str(tmp_path / "base.yaml"))
    assert load_config(tmp_path / "configs" / "net.yaml").verify.min_sqnr_db == 7


def test_the_command_says_what_it_assumed(tmp_path: Path) -> None:
    model, output = saved(tmp_path, separable), tmp_path / "bfpc.yaml"
    shown = CliRunner().invoke(main, ["init", str(model), "-o", str(output)])
    assert shown.exit_code == 0, shown.output
    assert "Assumed, to be checked: preprocessing.channels, preprocessing.divide" in shown.stdout
    refused = CliRunner().invoke(main, ["init", str(model), "-o", str(output), "--json"])
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["error"]["fix"].startswith("give --force")
    found = json.loads(CliRunner().invoke(main, ["init", str(model), "-o", str(output), "--force", "--json"]).stdout)
    assert (found["file"], found["schema"], found["layers"]) == (str(output), str(tmp_path / SCHEMA), 7)
    assert found["host"] == ["Softmax (node_softmax13): the accelerator has no such operator"]
