"""The exploration: what it promises is what the compiler then makes, and nothing that fits is better."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner

from bfpc.backend.devices import Device, find_device
from bfpc.backend.resources import estimate_area
from bfpc.cli import main
from bfpc.config import ArraySize, Config, load_config
from bfpc.errors import CapacityError, ConfigError
from bfpc.explore.candidates import Buffers, join, list_arrays
from bfpc.explore.explore import Exploration, Point, explore, pareto_front
from bfpc.explore.front import architecture_section
from bfpc.explore.timing import Question, Shared, make_timer
from bfpc.jobs import open_engine
from bfpc.pipeline import compile_model
from tests.backend.graphs import ARCHITECTURE
from tests.networks.random_networks import random_network
from tests.test_reproducible import tiny_resnet

SMALL = {
    "feature_depth": 1024,
    "accumulator_positions": 512,
    "on_chip_kilobytes": 64,
    "weight_kilobytes": 16,
}  # leaves the array and its multipliers open


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("explore")
    networks = {"tiny_resnet": tiny_resnet(), "random": random_network(3)}
    for name, network in networks.items():
        onnx.save(network, folder / f"{name}.onnx")
    return [folder / f"{name}.onnx" for name in networks]


def config_of(architecture: dict[str, Any]) -> Config:
    return Config.model_validate(load_config("int54").model_dump(mode="json") | {"architecture": architecture})


def run(models: list[Path], architecture: dict[str, Any], device: str = "zu9", fps: float | None = None) -> Exploration:
    with open_engine(processes=1) as engine:
        return explore(models, config_of(architecture), find_device(device), engine, fps=fps)


@pytest.fixture(scope="module")
def explored(models: list[Path]) -> Exploration:
    return run(models[:1], SMALL)


def test_the_compiler_makes_what_the_exploration_promises(
    models: list[Path], explored: Exploration, tmp_path: Path
) -> None:
    for point in (explored.front[0], explored.chosen):
        array = point.architecture
        config = config_of(architecture_section(array, shared=False)).without_passes()
        design = compile_model(models[0], config, tmp_path / "build").design
        assert design.schedule.architecture == array
        assert sum(layer.estimated_cycles for layer in design.schedule.layers) == point.cycles[0]


def test_nothing_that_fits_beats_the_front(explored: Exploration) -> None:
    assert explored.chosen.images_per_second == max(point.images_per_second for point in explored.points)
    for point in explored.points:
        assert any(
            better.area.fullest <= point.area.fullest and better.images_per_second >= point.images_per_second
            for better in explored.front
        )
    rates = [point.images_per_second for point in explored.front]
    assert rates == sorted(set(rates))
    assert all(point.area.fits for point in explored.points)


def point_of(fullest: float, rate: float) -> Point:
    """A made-up point on a made-up device, whose scarcest resource is logic."""
    plenty = replace(find_device("zu9"), block_rams=10**9, dsps=10**9)
    logic = estimate_area(ARCHITECTURE, plenty).total.logic
    area = estimate_area(ARCHITECTURE, replace(plenty, logic=round(logic / fullest / 0.7)))
    return Point(ARCHITECTURE, (round(ARCHITECTURE.clock_mhz * 1e6 / rate),), area)


def test_a_front_leaves_out_what_is_larger_and_no_faster() -> None:
    small, slow, fast, twin = (point_of(*sizes) for sizes in [(0.2, 100), (0.3, 50), (0.4, 200), (0.5, 200)])
    assert pareto_front([twin, fast, slow, small]) == (small, fast)


def test_a_rate_is_reached_with_the_least_area(models: list[Path], explored: Exploration) -> None:
    assert len(explored.front) > 1, "there is nothing to choose from"
    wanted = explored.front[-2].images_per_second
    found = run(models[:1], SMALL, fps=wanted)
    assert found.chosen == explored.front[-2]


def test_a_rate_beyond_the_fastest_names_the_fastest(models: list[Path], explored: Exploration) -> None:
    with pytest.raises(CapacityError, match=re.escape(f"makes {explored.chosen.rate} images a second")):
        run(models[:1], SMALL, fps=1e9)


def test_a_device_that_is_too_small_says_of_what(models: list[Path]) -> None:
    with pytest.raises(CapacityError, match=r"takes \d+% of what zynq7020 can fill of its (logic|dsps|block_rams)"):
        run(models[:1], {"c_vec": 64, "k_vec": 64}, "zynq7020")


def test_several_networks_take_turns_on_one_accelerator(models: list[Path]) -> None:
    sizes = {**SMALL, "c_vec": 32, "k_vec": 16, "multipliers": "luts"}
    together = run(models, sizes).chosen
    alone = [run([model], sizes).chosen for model in models]
    assert together.cycles == tuple(point.cycles[0] for point in alone)
    assert together.images_per_second == pytest.approx(1 / sum(1 / point.images_per_second for point in alone))
    assert together.architecture == join([point.architecture for point in alone])
    assert together.area.fullest >= max(point.area.fullest for point in alone)


def test_joined_accelerators_are_as_wide_as_the_widest() -> None:
    other = replace(ARCHITECTURE, block=8, activation_bits=8, accumulator_bits=48)
    assert join([ARCHITECTURE, other]) == join([other, ARCHITECTURE]) == other


def test_arrays_hold_the_blocks_and_what_is_set_stays() -> None:
    assert ArraySize(64, 32) in list_arrays(Config())
    assert all(16 <= k_vec <= c_vec for c_vec, k_vec in list_arrays(Config()))
    assert list_arrays(config_of({"c_vec": 64, "k_vec": 32})) == [ArraySize(64, 32)]


def test_an_array_too_large_for_the_device_is_not_timed(models: list[Path]) -> None:
    shared = Shared(tuple(models), config_of({}), find_device("zynq7020"), None)
    answers = make_timer(shared)(Question(0, ArraySize(256, 256)))
    assert [answer.cycles for answer in answers] == [None] * len(answers)


def test_buffers_that_hold_no_layer_are_no_candidate(models: list[Path]) -> None:
    sizes = {"feature_depth": 64, "accumulator_positions": 64, "on_chip_kilobytes": 0, "weight_kilobytes": 0}
    config = config_of({"c_vec": 16, "k_vec": 16, **sizes})
    roomy: Device = replace(find_device("u250"), name="roomy")
    [answer] = make_timer(Shared(tuple(models), config, roomy, None))(Question(1, ArraySize(16, 16)))
    assert answer.buffers == Buffers(**sizes)


def test_formats_that_are_not_chosen_cannot_be_explored(models: list[Path]) -> None:
    config = Config.model_validate({"precision": "auto", "budget": {"at_least": 30}})
    with open_engine(processes=1) as engine, pytest.raises(ConfigError, match="not chosen yet"):
        explore(models, config, find_device("zu9"), engine)


def test_the_command_writes_a_config_that_compiles_and_the_front(
    models: list[Path], tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same from processes of this machine as from a cluster."""
    (tmp_path / "mine.yaml").write_text("extends: int54\narchitecture: {c_vec: 32, k_vec: 16, feature_depth: 1024}\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    given = ["explore", str(models[0]), "-c", "./mine.yaml", "--device", "zu9"]
    for name, workers in {"local": ("--processes", "2"), "cluster": ("--scheduler", cluster)}.items():
        result = CliRunner().invoke(main, [*given, "-o", f"out/{name}.yaml", *workers])
        assert result.exit_code == 0, result.output
        assert "candidates" in result.output
    for suffix in (".yaml", ".front.json", ".front.svg"):
        assert Path(f"out/local{suffix}").read_text() == Path(f"out/cluster{suffix}").read_text()
    chosen = json.loads(Path("out/local.front.json").read_text())["chosen"]["architecture"]
    written = load_config(Path("out/local.yaml")).architecture
    assert written.feature_depth == chosen["feature_depth"] == 1024
    assert written.multipliers == chosen["multipliers"]
    compile_model(models[0], load_config(Path("out/local.yaml")), tmp_path / "build")
