"""The command line: what it hands to the library, what it prints where, and its exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import bfpc
from bfpc import __version__, tables
from bfpc.backend.architecture import size_architecture
from bfpc.backend.build_folder import write_build
from bfpc.backend.design import make_design
from bfpc.cli import main
from bfpc.comparison import Comparison, Score, ScorePair, Verification
from bfpc.config import Config, load_config
from bfpc.errors import ModelError
from bfpc.inspection import inspect
from bfpc.ir.partition import HostNode
from bfpc.partition_view import PartitionView, Segment
from tests.backend.graphs import small_network
from tests.test_runtime import build_of, pictures, with_host_between

GOOD = Verification((Comparison("prob", 21.53, 0.99987, 0.0123, 0.875),), (Comparison("conv1", 30.1, 0.9999, 0.5),))
SCORES = (ScorePair(Score("top1", 0.75, 0.7, 0.8125, 200), Score("top1", 0.78125, None, None, 200)),)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a small network."""
    graph, config = small_network(), Config()
    design = make_design(graph, size_architecture(graph, config.architecture, config.array_size), config, b"model")
    folder = tmp_path_factory.mktemp("builds") / "build"
    write_build(design, folder)
    return folder


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts functions in place of the library's: library("bfpc.verify", verify=...)."""

    def replace(name: str, **functions: Any) -> None:
        module = ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    return replace


@pytest.fixture
def no_report(library: Callable[..., None]) -> None:
    """Reports are written elsewhere: builds of these tests are none."""
    report = Path("build/report.html")
    library("bfpc.report.page", REPORT=report.name, report_files=dict, report_verified=lambda *_: report)


def test_version_and_help() -> None:
    assert __version__ in run("--version").output
    assert all(command in run("-h").output for command in ("compile", "verify", "run", "evaluate", "export", "inspect"))


@pytest.mark.usefixtures("no_report")
def test_compile_hands_over_what_was_given_and_prints_the_summary(build: Path, library: Callable[..., None]) -> None:
    given: list[object] = []

    def compile_model(
        model: Path, config: Config, output: Path, calibration: Path | None, dump_ir: Path | None, *_: object
    ) -> SimpleNamespace:
        given.extend((model, config, output, calibration, dump_ir))
        return SimpleNamespace(warnings=("no data given [synthetic]",))

    library("bfpc.pipeline", compile_model=compile_model)
    result = run("compile", "net.onnx", "-c", "int4", "-o", build, "--calibration", "pics", "--dump-ir", "ir")
    assert result.exit_code == 0, result.output
    assert given == [Path("net.onnx"), load_config("int4"), build, Path("pics"), Path("ir")]
    assert "6 layers" in result.stdout
    assert "warning: no data given [synthetic]" in result.stderr


def test_a_users_mistake_is_a_message_without_traceback_and_exit_code_2(library: Callable[..., None]) -> None:
    def compile_model(*_: object) -> None:
        raise ModelError("Loop is not supported", where="node loop_3", fix="unroll it")

    library("bfpc.pipeline", compile_model=compile_model)
    result = run("compile", "net.onnx")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "Error: Loop is not supported\n  where: node loop_3\n  fix: unroll it\n"


def test_a_fault_in_the_config_comes_before_the_model_is_opened(library: Callable[..., None]) -> None:
    library("bfpc.pipeline", compile_model=None)
    result = run("compile", "none.onnx", "-c", "int44")
    assert result.exit_code == 2
    assert "did you mean int4?" in result.stderr


def test_a_bug_keeps_its_traceback(library: Callable[..., None]) -> None:
    def compile_model(*_: object) -> None:
        raise AssertionError("a bug")

    library("bfpc.pipeline", compile_model=compile_model)
    assert isinstance(run("compile", "net.onnx").exception, AssertionError)


@pytest.mark.parametrize(
    ("bit_exact", "failures", "exit_code", "said"),
    [
        (None, (), 0, "Verification passed"),
        (True, (), 0, "agree in every stored tensor"),
        (False, ("conv1, channel 3: 7 is not 8",), 1, "conv1, channel 3: 7 is not 8"),
        (None, ("prob: 21.5 dB, 30 are demanded",), 1, "Verification FAILED"),
    ],
)
@pytest.mark.usefixtures("no_report")
def test_verify_prints_layers_outputs_and_the_verdict(
    library: Callable[..., None], bit_exact: bool | None, failures: tuple[str, ...], exit_code: int, said: str
) -> None:
    found = Verification(GOOD.outputs, GOOD.layers, bit_exact, failures)
    library("bfpc.verify", verify=lambda *_, **__: found)
    result = run("verify", "build")
    assert result.exit_code == exit_code, result.output
    for part in ("conv1", "30.1", "prob", "21.5", "0.99987", "0.0123", "87.5%", said):
        assert part in result.stdout


@pytest.mark.usefixtures("no_report")
def test_verify_prints_scores_of_both_networks_with_their_intervals(library: Callable[..., None]) -> None:
    found = Verification(GOOD.outputs, GOOD.layers, scores=SCORES)
    library("bfpc.verify", verify=lambda *_, **__: found)
    shown = run("verify", "build", "--inputs", "pics", "--labels", "labels.json").stdout
    assert "top1    0.7812  0.75 [0.7, 0.8125]     200" in shown


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(("options", "count"), [((), 8), (("--labels", "l.json"), None), (("--count", "20"), 20)])
def test_verify_uses_all_images_where_it_scores_them(
    library: Callable[..., None], options: tuple[str, ...], count: int | None
) -> None:
    given: dict[str, object] = {}

    def verify(*_: object, **options: object) -> Verification:
        given.update(options)
        return GOOD

    library("bfpc.verify", verify=verify)
    run("verify", "build", *options)
    assert given["count"] == count


@pytest.mark.usefixtures("no_report")
def test_verify_json_is_one_object_and_nothing_else(library: Callable[..., None]) -> None:
    given: dict[str, object] = {}

    def verify(build: Path, inputs: Path | None, **options: object) -> Verification:
        given.update(build=build, inputs=inputs, **options)
        return Verification(GOOD.outputs, GOOD.layers, False, ("differs",), ("careful",))

    library("bfpc.verify", verify=verify)
    result = run("verify", "b", "--inputs", "pics", "--csim", "--count", "3", "--labels", "l.json", "--json")
    del given["progress"], given["watch"]
    paths = {"build": Path("b"), "inputs": Path("pics"), "labels": Path("l.json")}
    assert given == {**paths, "metric": None, "csim": True, "trust": False, "count": 3}
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["passed"], found["bit_exact"]) == (False, False)
    assert found["outputs"][0]["top1_agreement"] == 0.875
    assert "careful" in result.stderr


def test_inspect_shows_every_layer_and_a_tour_of_the_generated_files(build: Path) -> None:
    (build / "hls" / "notes.txt").write_text("somebody's own\n")
    result = run("inspect", build)
    assert result.exit_code == 0, result.output
    schedule = json.loads((build / "schedule.json").read_text())
    for layer in schedule["layers"]:
        rows = " ".join(line for line in result.stdout.splitlines() if line.startswith(layer["name"]))
        program = layer["program"]
        for cell in (
            layer["operator"],
            layer["activation_format"],
            layer["weight_format"] or "",
            layer["output_format"],
            tables.main_stall(layer["stalls"], layer["cycles"]),
            f"{program['tile_height']} x {program['tile_width']}",
            f"{layer['accumulator_bits']} bits",
            f"{layer['utilization']:.1%}",
        ):
            assert cell in rows
        assert max(layer["stalls"], key=layer["stalls"].get) in rows
    for source in (build / "hls" / "src").iterdir():
        assert f"hls/src/{source.name}" in result.stdout
    assert "notes.txt" not in result.stdout


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_tables_fit_the_terminal_and_lose_no_figure(build: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    def figures(width: int) -> Counter[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        shown = run("inspect", build).stdout
        assert max(len(line) for line in shown.splitlines()) <= width
        assert "…" not in shown
        return Counter(word for word in re.split(r"[\s,()]+", shown) if re.fullmatch(r"\d+(\.\d+)?%?", word))

    assert figures(columns) >= figures(200)


def test_inspect_counts_passes_where_mantissas_are_multiplied_in_digits(build: Path) -> None:
    assert "passes" not in run("inspect", build).stdout
    found = inspect(build)
    layer = found.schedule["layers"][0]
    layer["passes"] = 6
    console = Console(file=StringIO(), width=160)
    console.print(tables.inspection(found))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    tile = f"{layer['program']['tile_height']} x {layer['program']['tile_width']}"
    assert "passes" in shown
    assert re.search(rf"{layer['name']} .* {tile} +6 ", shown)


def test_inspect_json_is_the_schedule_with_the_files(build: Path) -> None:
    found = json.loads(run("inspect", build, "--json").stdout)
    files = {file["path"]: file for file in found.pop("hls_files")}
    assert found == json.loads((build / "schedule.json").read_text())
    loader = files["hls/src/loader.hpp"]
    assert loader["purpose"] == "From memory into the accelerator: features and residuals"
    assert loader["lines"] == len((build / "hls" / "src" / "loader.hpp").read_text().splitlines())


# -- what runs where --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a network whose middle and end the host computes."""
    return build_of(with_host_between(), tmp_path_factory.mktemp("divided"))


def test_the_partition_shows_segments_crossings_reasons_and_the_picture(divided: Path) -> None:
    result = run("inspect", divided, "--partition")
    assert result.exit_code == 0, result.output
    order = [
        line.split("  ")[0]
        for line in result.stdout.splitlines()
        if re.match(r"(host|accelerator) \d  .*(MACs|onnx)", line)
    ]
    assert order == ["accelerator 0", "host 0", "accelerator 1", "host 1", "accelerator 2"]
    manifest = json.loads((divided / "manifest.json").read_text())
    for segment in manifest["host"]:
        for part in (segment["file"], *(node["name"] for node in segment["nodes"])):
            assert part in result.stdout
    assert "TopK" in result.stdout
    assert f"Picture: {divided / 'partition.svg'}" in result.stdout


def test_the_partition_as_json_tells_what_crosses(divided: Path) -> None:
    found = json.loads(run("inspect", divided, "--partition", "--json").stdout)
    manifest = json.loads((divided / "manifest.json").read_text())
    words = {port["name"]: port["words"] for port in (*manifest["inputs"], *manifest["outputs"])}
    assert [(crossing["to"], crossing["bytes"]) for crossing in found["crossings"]] == [
        (to, 8 * words[name])
        for to, side in (("host", "inputs"), ("accelerator", "outputs"))
        for segment in manifest["host"]
        for name in segment[side]
    ]
    layers = [segment["layers"] for segment in found["segments"] if segment["file"] is None]
    assert layers == [stage["layers"] for stage in manifest["stages"]]
    schedule = json.loads((divided / "schedule.json").read_text())
    assert sum(segment["macs"] for segment in found["segments"]) == schedule["macs"]


def test_a_partition_without_a_host_says_so(build: Path) -> None:
    result = run("inspect", build, "--partition")
    assert "Everything runs on the accelerator." in result.stdout


def test_nodes_on_the_host_for_the_same_reason_share_a_row() -> None:
    nodes = tuple(HostNode(f"softmax{i}", "Softmax", "it divides", "leave it") for i in range(12))
    host = Segment("host 0", "host/00.onnx", (*nodes, HostNode("nms", "NonMaxSuppression", "it sorts", "")), 0, 0, ())
    console = Console(width=200)
    with console.capture() as capture:
        console.print(tables.partition(PartitionView(Path("build"), (host,), (), None)))
    rows = [line for line in capture.get().splitlines() if line.startswith("host 0  ") and "it " in line]
    assert len(rows) == 2
    assert "softmax7 and 4 more" in rows[0]


@pytest.mark.parametrize("device", ["emulator", "csim"])
def test_run_writes_an_array_for_each_output(
    divided: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXXFLAGS", "-O1")
    images = pictures(2)
    np.save(tmp_path / "images.npy", images)
    result = run("run", divided, "--input", tmp_path / "images.npy", "-o", tmp_path / "out.npz", "--device", device)
    assert result.exit_code == 0, result.output
    assert "2 images" in result.stdout
    session = bfpc.load(divided)
    with np.load(tmp_path / "out.npz") as archive:
        written = dict(archive)
    assert list(written) == [info.name for info in session.get_outputs()]
    for found, expected in zip(written.values(), session.run({"input0": images}), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "out.npz"]


@pytest.mark.parametrize("content", [None, "{", "text", "[]", "{}"])
def test_a_folder_that_is_no_build(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "schedule.json").write_text(content)
    result = run("inspect", tmp_path)
    assert result.exit_code == 2
    assert "not a build folder" in result.stderr


def test_an_interruption_ends_in_its_own_exit_code(library: Callable[..., None]) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    library("bfpc.pipeline", compile_model=interrupted)
    result = run("compile", "model.onnx")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
