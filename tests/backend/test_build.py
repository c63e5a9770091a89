"""The build folder: read back as written, reproducible, never half-written, never something else's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from bfpc.backend.build_folder import read_build, write_build
from bfpc.backend.design import Design, Vectors, design_files, make_design
from bfpc.backend.memory_plan import feature_layout
from bfpc.backend.trace import pack_maps, trace_names, unpack_maps
from bfpc.config import load_config
from bfpc.errors import BuildError
from bfpc.ir.partition import HostNode, HostSegment
from bfpc.ir.text import print_graph
from bfpc.numerics.format import BfpTensor
from tests.backend.graphs import ACTIVATION, ARCHITECTURE, small_network
from tests.backend.strategies import random_map

VECTORS = Vectors(np.arange(3, dtype=np.uint64), np.arange(5, dtype=np.uint64))


def segment(stage: int, inputs: tuple[str, ...], outputs: tuple[str, ...], *nodes: HostNode) -> HostSegment:
    """A host segment of which only the names of its tensors matter."""
    read, made = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in names]
        for names in (inputs, outputs)
    )
    model = helper.make_model(helper.make_graph([], f"segment{stage}", read, made))
    return HostSegment(stage, model.SerializeToString(), inputs, outputs, nodes)


HOST = (
    segment(0, ("raw",), ("image",), HostNode("resize", "Resize", "why", "what to do")),
    segment(1, ("logits",), ("best", "scores"), HostNode("<&>", "Softmax", "why", "what to do")),
)


def make() -> Design:
    outputs = ("scores", "logits", "best")
    return make_design(small_network(), ARCHITECTURE, load_config("int54"), b"the model", outputs, HOST)


@pytest.fixture
def design() -> Design:
    return make()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_reads_back_as_its_design(design: Design, tmp_path: Path) -> None:
    write_build(design, tmp_path / "build", VECTORS)
    build = read_build(tmp_path / "build")
    assert print_graph(build.graph) == print_graph(design.graph)
    assert build.config == design.config
    assert build.model.read_bytes() == b"the model"
    assert build.host == HOST
    assert build.group == 32
    for name, constant in design.graph.constants.items():
        back = build.graph.constants[name]
        if isinstance(constant, BfpTensor):
            assert isinstance(back, BfpTensor)
            assert np.array_equal(back.mantissas, constant.mantissas)
            assert np.array_equal(back.offsets, constant.offsets)
        else:
            assert np.array_equal(build.graph.array(name), constant)


def test_equal_designs_make_equal_bytes(design: Design, tmp_path: Path) -> None:
    write_build(design, tmp_path / "one", VECTORS)
    write_build(make(), tmp_path / "two", VECTORS)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_the_folder_holds_what_the_documentation_names(design: Design, tmp_path: Path) -> None:
    write_build(design, tmp_path / "build", VECTORS)
    files = _files(tmp_path / "build")
    named = {
        "weights.bin",
        "program.bin",
        "schedule.json",
        "manifest.json",
        "network.ir",
        "config.yaml",
        "model.onnx",
        "partition.svg",
    }
    assert (
        named | {"host/00.onnx", "host/01.onnx", "hls/vectors/input.bin", "hls/vectors/expected.bin", "hls/Makefile"}
        <= files.keys()
    )
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"].keys() == files.keys() - {"manifest.json"}
    (image,) = manifest["inputs"]
    assert (image["name"], image["shape"], image["axes"]) == ("image", [1, 12, 20, 20], ["N", "C", "H", "W"])
    assert manifest["outputs_of_network"] == ["scores", "logits", "best"]
    assert manifest["stages"] == [{"first_layer": 0, "layers": len(manifest["layers"])}]
    assert [(entry["file"], entry["stage"]) for entry in manifest["host"]] == [("host/00.onnx", 0), ("host/01.onnx", 1)]
    assert (image["stage"], image["address"], image["scale_exponent"]) == (0, 0, ACTIVATION.exponent)
    assert len(files["weights.bin"]) == 8 * design.schedule.weights.words.size


def test_an_earlier_build_is_replaced_and_nothing_else_remains(design: Design, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    write_build(design, folder, VECTORS)
    (folder / "hls" / "csim").write_text("left over")
    write_build(design, folder)
    assert _files(folder) == design_files(design)
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_other_folders_and_files_are_left_alone(design: Design, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, what in (("mine", "a folder that bfpc did not write"), ("file", "a file")):
        with pytest.raises(BuildError, match=what):
            write_build(design, tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "precious"


def test_an_empty_folder_is_used(design: Design, tmp_path: Path) -> None:
    write_build(design, tmp_path)
    read_build(tmp_path)


def test_a_failed_write_leaves_the_earlier_build(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "build"
    write_build(design, folder)
    before = _files(folder)

    def full_disk(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(BuildError, match="No space left on device"):
        write_build(design, folder)
    monkeypatch.undo()
    assert _files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_changed_and_missing_files_are_named(design: Design, tmp_path: Path) -> None:
    write_build(design, tmp_path / "build")
    weights = tmp_path / "build" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    (tmp_path / "build" / "network.ir").unlink()
    with pytest.raises(BuildError, match=r"network.ir is missing, weights.bin has changed"):
        read_build(tmp_path / "build")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"manifest_version": 99}'])
def test_what_is_no_build_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(BuildError):
        read_build(tmp_path)


def test_a_trace_is_the_layers_outputs_in_order() -> None:
    graph = small_network()
    names = trace_names(graph)
    assert names == ("stem", "left", "right", "narrow", "cropped", "head")
    maps = {name: random_map(ACTIVATION, graph.value(name).shape, seed) for seed, name in enumerate(names)}
    words = pack_maps(names, maps, 32)
    assert words.size == sum(feature_layout(graph, name, 32).words for name in names)
    back = unpack_maps(graph, names, words, 32)
    assert all(np.array_equal(back[name].mantissas, maps[name].mantissas) for name in names)
