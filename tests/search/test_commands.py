"""The commands that choose formats, on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from bfpc.backend.build_folder import read_build
from bfpc.cli import main
from bfpc.search.search import Data
from bfpc.verify import verify

AUTO = {
    "precision": "auto",
    "budget": {"at_least": 38},
    "search": {"activation_bits": [6, 8], "weight_bits": [4, 6, 8], "checks": 4},
}


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def config_file(folder: Path, **sections: object) -> Path:
    path = folder / "auto.yaml"
    path.write_text(yaml.safe_dump({**AUTO, **sections}))
    return path


def test_compile_chooses_the_formats_and_keeps_them_in_the_build(model: Path, data: Data, tmp_path: Path) -> None:
    build, calibration = tmp_path / "build", data.calibration or Path()
    run("compile", model, "-c", config_file(tmp_path), "--calibration", calibration, "-o", build)
    kept = read_build(build).config
    assert kept.precision == "given"
    [output] = verify(build, calibration).outputs
    assert output.sqnr_db is not None
    assert output.sqnr_db >= 38


def test_a_search_gives_the_same_on_a_cluster_as_in_local_processes(
    model: Path, data: Data, tmp_path: Path, cluster: str
) -> None:
    config, calibration = config_file(tmp_path), data.calibration or Path()
    for name, workers in {"local": ("--processes", "2"), "cluster": ("--scheduler", cluster)}.items():
        output = tmp_path / f"{name}.yaml"
        run("search", model, "-c", config, "--calibration", calibration, "-o", output, *workers)
    for suffix in (".yaml", ".front.json", ".sensitivity.jsonl"):
        assert (tmp_path / f"local{suffix}").read_text() == (tmp_path / f"cluster{suffix}").read_text()


def test_workers_elsewhere_find_files_named_relatively(
    pooled: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide formats leave the pool a layer of its own, narrow ones don't: a worker prepares the network anew."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(pooled.read_bytes())
    np.save("images.npy", np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32))
    search = {"activation_bits": [3, 8], "weight_bits": [3, 8], "weight_exponent_ranges": [7], "checks": 4}
    config_file(tmp_path, budget={"at_least": 5}, search=search)
    run("search", "model.onnx", "-c", "./auto.yaml", "--calibration", "images.npy", "--scheduler", cluster)


def test_an_interrupted_search_measures_and_checks_nothing_twice(model: Path, data: Data, tmp_path: Path) -> None:
    config, calibration, output = config_file(tmp_path), data.calibration or Path(), tmp_path / "chosen.yaml"
    search = ("search", model, "-c", config, "--calibration", calibration, "-o", output, "--processes", "1")
    run(*search)
    state, text = output.with_suffix(".sensitivity.jsonl"), output.read_text()
    whole = state.read_text()
    lines = whole.splitlines(keepends=True)
    for kept in (len(lines), len(lines) - 3):  # all, and as if it had ended amid the checks
        state.write_text("".join(lines[:kept]))
        run(*search, "--resume")
        assert state.read_text() == whole
        assert output.read_text() == text


def test_of_the_images_to_check_on_all_are_used(model: Path, data: Data, tmp_path: Path) -> None:
    images, calibration, output = tmp_path / "many.npy", data.calibration or Path(), tmp_path / "chosen.yaml"
    few = np.load(calibration)
    np.save(images, np.concatenate([few, few[..., ::-1], few[..., ::-1, :]]))
    given = ("-c", config_file(tmp_path), "--calibration", calibration, "--validation", images)
    run("search", model, *given, "-o", output, "--processes", "1")
    run("compile", model, "-c", output, "--calibration", calibration, "-o", tmp_path / "build")
    [found] = verify(tmp_path / "build", images, count=3 * len(few)).outputs
    chosen = json.loads(output.with_suffix(".front.json").read_text())["chosen"]
    assert found.sqnr_db == pytest.approx(chosen["accuracy"], abs=0.01)
