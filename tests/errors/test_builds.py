"""Build folders that are not as bfpc wrote them, and builds that are given what they do not take."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import TensorProto

import bfpc
from bfpc.cli import main
from bfpc.config import Config
from bfpc.pipeline import compile_model
from tests.conftest import Golden
from tests.errors.provoke import Prepare, Situation, check_table
from tests.frontend.test_partition import model_of
from tests.fuzz.models import sound_model

VERIFY = "verify build"
ONE = {"x": np.zeros((1, 3, 8, 8), np.float32)}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a part that the host computes."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        onnx.save(sound_model(), "net.onnx")
        Path("config.yaml").write_text("calibration: {images: 1}\n")
        assert CliRunner().invoke(main, ["compile", "net.onnx", "-c", "./config.yaml"]).exit_code == 0
    return folder / "build"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that gathers what an input asks for, on the host."""
    folder = tmp_path_factory.mktemp("indexed")
    text = "(float[N,3,6,6] x, int64[N,1] i) => (float[N,A,B,4,4] z) { y = Conv(x, w) z = Gather<axis = 1>(y, i) }"
    onnx.save(model_of(text, w=(4, 3, 3, 3)), folder / "net.onnx")
    compile_model(folder / "net.onnx", Config.model_validate({"calibration": {"images": 1}}), folder / "build")
    return folder / "build"


def rewrite(name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes a file of the build, and its checksum."""
    path, manifest = Path("build") / name, Path("build/manifest.json")
    path.write_bytes(change(path.read_bytes()))
    if name != "manifest.json":
        document = json.loads(manifest.read_bytes())
        document["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(document))


def json_change(name: str, change: Callable[[Any], object]) -> Prepare:
    def changed(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return partial(rewrite, name, changed)


def model_change(name: str, change: Callable[[onnx.ModelProto], object]) -> Prepare:
    def changed(content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        change(model)
        return bytes(model.SerializeToString())

    return partial(rewrite, name, changed)


def replace_text(name: str, old: str, new: str) -> Prepare:
    def changed(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return partial(rewrite, name, changed)


def make_external(model: onnx.ModelProto) -> None:
    tensor = next(each for each in model.graph.initializer if len(each.dims) == 4)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def widen_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "elsewhere"


def no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "mine"
    model.opset_import.add(domain="mine", version=1)


def no_tensor(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.Clear()


def unknown_elements(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


def unverified() -> None:
    Path("build/verification.json").write_text("{}")


def no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported, the network becomes larger than it was."""

    class Large:
        def SerializeToString(self, **_: Any) -> bytes:
            raise EncodeError("too large")

    monkeypatch.setattr("bfpc.export.export_model", lambda *_: Large())


CONTENTS: Mapping[str, Prepare] = {
    "a manifest that is no JSON": partial(rewrite, "manifest.json", lambda content: content[:-9]),
    "a manifest with a number for a name": json_change("manifest.json", lambda m: m.update(network=3)),
    "a manifest that leads out of the folder": json_change(
        "manifest.json", lambda m: m["files"].update({"../x": "0" * 64})
    ),
    "a manifest that leads to the root": json_change(
        "manifest.json", lambda m: m["files"].update({"/etc/passwd": "0" * 64})
    ),
    "a manifest without a file": json_change("manifest.json", lambda m: m["files"].pop("network.ir")),
    "a graph that is none": replace_text("network.ir", "= Conv(", "= Nonsense("),
    "a graph of other shapes": replace_text("network.ir", " : 8x8x8", " : 8x8x9"),
    "a graph that contradicts the manifest": json_change(
        "manifest.json", lambda m: m["feature_memory"].update(group=64)
    ),
    "a model that is none": partial(rewrite, "model.onnx", lambda content: content[:99]),
    "a model with data elsewhere": model_change("model.onnx", make_external),
    "a model of another input": model_change("model.onnx", widen_input),
    "a model of another output": model_change("model.onnx", rename_output),
    "a model without tensors": model_change("model.onnx", no_tensor),
    "a model of unknown elements": model_change("model.onnx", unknown_elements),
    "a host model that onnxruntime does not know": model_change("host/00.onnx", no_operator),
}


def test_builds_of_others(build: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(change: Prepare) -> Prepare:
        def prepare() -> None:
            shutil.copytree(build, "build")
            change()

        return prepare

    schedule = changed(json_change("schedule.json", lambda document: document["layers"][0].pop("macs")))
    code = changed(replace_text("hls/tb/testbench.cpp", "int main", "int evil() { return 1; }\nint main"))
    makefile = changed(replace_text("hls/Makefile", "build:", "build: ; touch ../../executed\nother:"))
    program = changed(partial(rewrite, "program.bin", lambda content: content[:64] + b"\xff" + content[65:]))
    named = json_change("manifest.json", lambda document: document["config"].update(measure={"metric": "os:getcwd"}))
    csim = f"{VERIFY} --csim"
    table = [
        *(Situation(name, VERIFY, changed(change)) for name, change in CONTENTS.items()),
        Situation("a schedule without a key", "inspect build", schedule),
        Situation("a timeline that is none", VERIFY, changed(partial(rewrite, "timeline.json", lambda content: b"{}"))),
        Situation("a verification that is none", "diff build build", changed(unverified)),
        Situation("a function named in a build", VERIFY, changed(named)),
        Situation("other C++ in a build", csim, code),
        Situation("another Makefile in a build", csim, makefile),
        Situation("another program in a build", csim, program),
        Situation("a network of more weights than ONNX holds", "export build", changed(lambda: None), patch=no_message),
    ]
    check_table(table, "contents", golden, tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("executed"))


def test_what_a_session_does_not_take(
    build: Path, indexed: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bfpc.load(build)

    def asked(name: str, does: str, *arguments: Any) -> Situation:
        return Situation(name, does, call=lambda: session.run(*arguments))

    with_index = bfpc.load(indexed)
    several = {"x": np.zeros((2, 3, 6, 6), np.float32), "i": np.zeros((1, 1), np.int64)}
    beyond = {"x": np.zeros((1, 3, 6, 6), np.float32), "i": np.full((1, 1), 9, np.int64)}
    table = [
        Situation("no such device", 'bfpc.load("build", "fpga")', call=lambda: bfpc.load(build, "fpga")),  # type: ignore[arg-type]
        asked("no such output", 'session.run(["z"], feed)', ["z"], ONE),
        asked("no such input", 'session.run(None, {"z": images})', None, {"z": ONE["x"]}),
        asked("another shape", "session.run(None, feed)", None, {"x": ONE["x"][:, :, 1:]}),
        asked("another element type", "session.run(None, feed)", None, {"x": ONE["x"].astype(np.float64)}),
        asked("NaN", "session.run(None, feed)", None, {"x": ONE["x"] * np.nan}),
        Situation("other numbers of images", "session.run(feed)", call=lambda: with_index.run(several)),
        Situation("an index that there is not", "session.run(feed)", call=lambda: with_index.run(beyond)),
    ]
    check_table(table, "session", golden, tmp_path, monkeypatch)
