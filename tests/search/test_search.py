"""The search as a whole: the budget holds for what is compiled from the config that it writes."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bfpc.config import Config, load_config
from bfpc.errors import CapacityError, ConfigError, DataError
from bfpc.jobs import open_engine
from bfpc.pipeline import compile_model, prepare_network, quantize_network
from bfpc.search.files import search_to_files
from bfpc.search.search import Chosen, Data, search
from bfpc.verify import verify

SEARCH = {
    "activation_bits": [4, 6, 8],
    "weight_bits": [3, 5, 8],
    "activation_block_sizes": [8, 16],
    "weight_block_sizes": [8, 16],
    "checks": 4,
}


def config_of(budget: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({"precision": "auto", "budget": budget, "search": SEARCH, **sections})


def run(model: Path, config: Config, data: Data, **options: Any) -> Chosen:
    with open_engine(processes=1) as engine:
        return search(model, config, data, engine, **options)


def weight_bits(model: Path, config: Config, data: Data) -> int:
    graph = quantize_network(prepare_network(model, config, data.calibration), config)
    weights = [weight for weight in map(graph.weight, graph.layers) if weight is not None]
    return sum(
        weight.mantissas.size * weight.format.mantissa_bits + weight.offsets.size * weight.format.exponent_bits
        for weight in weights
    )


def sqnr_db(model: Path, config: Config, data: Data) -> float:
    """At the outputs, on the calibration images."""
    with tempfile.TemporaryDirectory() as folder:
        compile_model(model, config, Path(folder) / "build", data.calibration)
        [output] = verify(Path(folder) / "build", data.calibration).outputs
    assert output.sqnr_db is not None
    return output.sqnr_db


def test_what_is_compiled_from_the_written_config_keeps_to_the_floor(model: Path, data: Data, tmp_path: Path) -> None:
    path = tmp_path / "chosen.yaml"
    with open_engine(processes=1) as engine:
        chosen = search_to_files(model, config_of({"at_least": 40}), data, engine, path)
    assert not chosen.warnings
    written = load_config(path)
    assert written == chosen.config
    assert written.precision == "given"
    compile_model(model, written, tmp_path / "build", data.calibration)
    [output] = verify(tmp_path / "build", data.calibration).outputs
    assert output.sqnr_db == pytest.approx(chosen.accuracy, abs=0.01)
    assert output.sqnr_db is not None
    assert output.sqnr_db >= 40
    assert weight_bits(model, written, data) == chosen.cost


def test_the_front_is_drawn_with_all_that_was_measured(model: Path, data: Data, tmp_path: Path) -> None:
    with open_engine(processes=1) as engine:
        found = search_to_files(model, config_of({"at_least": 40}), data, engine, tmp_path / "chosen.yaml").front
    assert json.loads((tmp_path / "chosen.front.json").read_text())["chosen"]["cost"] == found.chosen.cost
    picture = ElementTree.parse(tmp_path / "chosen.front.svg").getroot()
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"predicted front", "checked choices", "one width for all", "chosen", "weight bits"} <= texts
    marks = [element for element in picture.iter() if "point" in element.get("aria-roledescription", "")]
    assert len(marks) == len(found.checked) + len(found.uniform) + 1


def test_a_lower_floor_costs_less(model: Path, data: Data) -> None:
    low, high = (run(model, config_of({"at_least": floor}), data) for floor in (36, 43))
    assert low.cost < high.cost
    assert 36 <= low.accuracy < high.accuracy


def test_more_cost_gives_more_accuracy_and_no_budget_is_exceeded(model: Path, data: Data) -> None:
    widest = run(model, config_of({"at_most": 1e9}), data).cost
    budgets = [0.5 * widest, 0.75 * widest]
    found = [run(model, config_of({"at_most": budget}), data) for budget in budgets]
    assert [chosen.cost <= budget for chosen, budget in zip(found, budgets, strict=True)] == [True, True]
    assert found[0].accuracy < found[1].accuracy


def test_at_the_weight_bits_of_a_uniform_format_the_choice_is_more_accurate(
    model: Path, data: Data, tmp_path: Path
) -> None:
    uniform = Config.model_validate({"formats": {"weight": {"mantissa_bits": 4}}})
    compile_model(model, uniform, tmp_path / "build", data.calibration)
    [output] = verify(tmp_path / "build", data.calibration).outputs
    search = {
        "activation_bits": [8],
        "weight_bits": [3, 4, 5, 6],
        "activation_block_sizes": [16],
        "weight_block_sizes": [16],
        "checks": 4,
    }
    chosen = run(model, config_of({"at_most": weight_bits(model, uniform, data)}, search=search), data)
    assert output.sqnr_db is not None
    assert chosen.accuracy > output.sqnr_db


def test_accuracy_may_be_the_agreement_of_the_first_class(model: Path, data: Data) -> None:
    chosen = run(model, config_of({"accuracy": "top1_agreement", "at_least": 1.0}), data)
    assert chosen.accuracy == 1.0


def least_fit(outputs: dict[str, Any], reference: dict[str, Any], _: object) -> list[float]:
    """A metric: minus the largest error of each image."""
    [(name, output)] = outputs.items()
    return [-float(error) for error in np.abs(output - reference[name]).reshape(len(output), -1).max(axis=1)]


def test_accuracy_may_be_a_function_of_the_users(model: Path, data: Data) -> None:
    accuracy = f"{__name__}:least_fit"
    strict, loose = (run(model, config_of({"accuracy": accuracy, "at_least": floor}), data) for floor in (-0.1, -1.0))
    assert strict.accuracy >= -0.1
    assert loose.accuracy >= -1.0
    assert loose.cost < strict.cost


def test_choices_are_checked_on_the_validation_images(model: Path, data: Data, tmp_path: Path) -> None:
    assert data.calibration is not None
    images = np.load(data.calibration)
    np.save(tmp_path / "other.npy", images[::-1] * 1.1)
    other = run(model, config_of({"at_least": 40}), Data(data.calibration, tmp_path / "other.npy"))
    build = tmp_path / "build"
    compile_model(model, other.config, build, data.calibration)
    [output] = verify(build, tmp_path / "other.npy").outputs
    assert output.sqnr_db == pytest.approx(other.accuracy, abs=0.01)


def test_overrides_are_where_the_search_begins(model: Path, more_data: Data) -> None:
    overrides = [{"position": "first", "weight": {"mantissa_bits": 7}}]
    given = Config.model_validate({"overrides": overrides, "formats": {"output": {"mantissa_bits": 11}}})
    config = config_of(
        {"at_most": weight_bits(model, given, more_data)},
        overrides=overrides,
        formats={"output": {"mantissa_bits": 11}},
    )
    chosen = run(model, config, more_data)
    [start] = [point for point in chosen.front.uniform if point.name == "as given"]
    assert start.cost == weight_bits(model, given, more_data)
    assert start.accuracy == pytest.approx(sqnr_db(model, given, more_data), abs=1e-3)
    assert start.accuracy is not None
    assert chosen.accuracy > start.accuracy


def test_the_format_of_the_outputs_is_left_as_it_is(model: Path, data: Data) -> None:
    chosen = run(model, config_of({"at_least": 36}, formats={"output": {"mantissa_bits": 11}}), data)
    graph = quantize_network(prepare_network(model, chosen.config, data.calibration), chosen.config)
    assert {graph.format(name).mantissa_bits for name in graph.output_names} == {11}


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_no_uniform_format_within_the_budget_is_better(model: Path, data: Data, bits: int) -> None:
    formats = {"activation": {"mantissa_bits": 6}, "weight": {"mantissa_bits": bits}}
    most = weight_bits(model, Config.model_validate({"formats": formats}), data)
    chosen = run(model, config_of({"at_most": most}, formats=formats), data)
    assert chosen.cost <= most
    assert chosen.accuracy >= max(point.accuracy or 0 for point in chosen.front.uniform if point.cost <= most)


def test_checks_find_better_choices_than_sensitivities_alone(model: Path, data: Data) -> None:
    most = weight_bits(model, Config.model_validate({"formats": {"weight": {"mantissa_bits": 4}}}), data)
    without, with_checks = (
        run(model, config_of({"at_most": most}, search={**SEARCH, "checks": checks}), data) for checks in (0, 16)
    )
    assert with_checks.accuracy > without.accuracy
    assert with_checks.cost <= most


# -- Interrupted searches ---------------------------------------------------------------------------------------------


def test_a_resumed_search_finds_the_same_from_what_was_measured(model: Path, data: Data, tmp_path: Path) -> None:
    state, config = tmp_path / "state.jsonl", config_of({"at_least": 40})
    whole = run(model, config, data, state_file=state)
    lines = state.read_text().splitlines(keepends=True)
    marked = [json.dumps(json.loads(line)) + "\n" for line in lines[:4]]
    state.write_text("".join(marked) + lines[4][: len(lines[4]) // 2])  # ended while it wrote
    resumed = run(model, config, data, state_file=state, resume=True)
    assert resumed.text == whole.text
    assert state.read_text().startswith("".join(marked))


def test_what_was_measured_serves_other_budgets(model: Path, data: Data, tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    run(model, config_of({"at_least": 40}), data, state_file=state)
    before = state.read_text()
    other = run(model, config_of({"at_most": 1e9}), data, state_file=state, resume=True)
    assert state.read_text().startswith(before)
    assert other.text == run(model, config_of({"at_most": 1e9}), data).text


def test_measurements_after_other_passes_are_refused(model: Path, data: Data, tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    run(model, config_of({"at_least": 36}), data, state_file=state)
    with pytest.raises(DataError, match="of another model, of other calibration data, or after other passes"):
        run(model, config_of({"at_least": 36}, passes={"correct_bias": False}), data, state_file=state, resume=True)


def test_other_candidates_are_measured_in_addition(model: Path, data: Data, tmp_path: Path) -> None:
    state, wider = tmp_path / "state.jsonl", {**SEARCH, "activation_bits": [4, 8]}
    run(model, config_of({"at_least": 36}), data, state_file=state)
    before = state.read_text()
    resumed = run(model, config_of({"at_least": 36}, search=wider), data, state_file=state, resume=True)
    assert state.read_text().startswith(before)
    assert resumed.text == run(model, config_of({"at_least": 36}, search=wider), data).text


def test_an_edited_metric_is_checked_anew(
    model: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state, config = tmp_path / "state.jsonl", config_of({"accuracy": "edited_metric:even", "at_least": 0.1})
    found = []
    for score in (0.5, 0.25):
        source = f"def even(outputs, reference, labels):\n    return [{score}] * len(next(iter(outputs.values())))\n"
        (tmp_path / "edited_metric.py").write_text(source)
        monkeypatch.delitem(sys.modules, "edited_metric", raising=False)
        found.append(run(model, config, data, state_file=state, resume=state.exists()).accuracy)
    assert found == [0.5, 0.25]


def test_there_must_be_something_to_resume(model: Path, data: Data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to resume"):
        run(model, config_of({"at_least": 36}), data, state_file=tmp_path / "none.jsonl", resume=True)


# -- What is refused --------------------------------------------------------------------------------------------------


def test_a_floor_out_of_reach_says_what_is_reached(model: Path, data: Data) -> None:
    with pytest.raises(CapacityError, match=r"no choice of formats reaches sqnr_db 90: the best found is \d\d"):
        run(model, config_of({"at_least": 90}), data)


def test_a_cost_out_of_reach_says_what_the_least_is(model: Path, data: Data) -> None:
    with pytest.raises(CapacityError, match=r"costs 10 weight_bits or less: the least is about \d+"):
        run(model, config_of({"at_most": 10}), data)


def test_a_search_needs_a_budget(model: Path, data: Data) -> None:
    with pytest.raises(ConfigError, match="under no budget"):
        run(model, Config(precision="auto"), data)


def test_an_unknown_score_is_named_with_those_there_are(model: Path, data: Data) -> None:
    with pytest.raises(ConfigError, match=r"no score is called top3\n[^$]*sqnr_db, top1_agreement"):
        run(model, config_of({"accuracy": "top3", "at_least": 1}), data)


def test_blocks_must_fit_an_array_of_a_given_size(model: Path, data: Data) -> None:
    with pytest.raises(ConfigError, match="no block size fits the array"):
        run(model, config_of({"at_least": 1}, architecture={"block": 4, "k_vec": 4}, formats=_blocks(4)), data)


def _blocks(size: int) -> dict[str, Any]:
    return {key: {"block_size": size} for key in ("activation", "weight")}
