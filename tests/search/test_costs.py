"""What formats cost, against the figures of the backend for the finished choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bfpc.config import Config
from bfpc.errors import ConfigError
from bfpc.jobs import open_engine
from bfpc.pipeline import compile_model
from bfpc.search.search import Chosen, Data, search

NARROW = {"activation_bits": 4, "weight_bits": 4}
CANDIDATES = {
    "activation_bits": [4, 8],
    "weight_bits": [4, 8],
    "activation_block_sizes": [16],
    "weight_block_sizes": [16],
    "checks": 4,
}


def run(model: Path, data: Data, budget: dict[str, Any], **sections: Any) -> Chosen:
    config = Config.model_validate({"precision": "auto", "budget": budget, "search": CANDIDATES, **sections})
    with open_engine(processes=1) as engine:
        return search(model, config, data, engine)


@pytest.mark.parametrize("cost", ["dram_bytes", "cycles"])
@pytest.mark.parametrize("network", ["model", "separable"])
def test_a_choice_costs_what_its_schedule_says(
    network: str, cost: str, data: Data, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: Path = request.getfixturevalue(network)
    chosen = run(model, data, {"cost": cost, "at_least": 25}, architecture=NARROW)
    schedule = compile_model(model, chosen.config, tmp_path / "build", data.calibration).design.schedule
    assert chosen.cost == getattr(schedule, f"estimated_{cost}")
    assert chosen.cost == pytest.approx(getattr(schedule, cost), rel=0.2)
    widest = max(chosen.front.uniform, key=lambda point: point.cost)
    assert chosen.cost < widest.cost


def test_the_array_is_as_wide_as_the_widest_formats_of_the_cheapest_choice(
    model: Path, data: Data, tmp_path: Path
) -> None:
    chosen = run(model, data, {"cost": "area", "at_least": 30})
    design = compile_model(model, chosen.config, tmp_path / "build", data.calibration).design
    array = design.schedule.architecture
    assert chosen.cost <= max(point.cost for point in chosen.front.uniform)
    assert (array.activation_bits, array.weight_bits) != (8, 8)


@pytest.mark.parametrize(
    ("cost", "architecture", "what"),
    [
        ("cycles", {}, "cycles depend on formats only where the array multiplies fewer bits"),
        ("area", NARROW, "the area follows from the widest formats only where the array is sized by them"),
    ],
)
def test_a_cost_that_no_format_changes_is_refused(
    model: Path, data: Data, cost: str, architecture: dict[str, int], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        run(model, data, {"cost": cost, "at_least": 30}, architecture=architecture)
