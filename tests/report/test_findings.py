"""What adds most noise: of a chain, the layer after which the SQNR falls; what to try names real overrides."""

from __future__ import annotations

import re

import pytest
import yaml

from bfpc.config import Config
from bfpc.passes.assign_formats import unused_overrides
from bfpc.report.findings import find_worst
from bfpc.report.octaves import count_octaves
from tests.backend.graphs import small_network

GRAPH = small_network()
LAYERS = [node.name for node in GRAPH.layers]
WEIGHTS = {node.name: count_octaves(weight) for node in GRAPH.layers if (weight := GRAPH.weight(node)) is not None}


def worst(sqnr_db: dict[str, float]) -> list[str]:
    return [found.layer for found in find_worst(GRAPH, sqnr_db, WEIGHTS, {}, extra_sign_bit=False)]


@pytest.mark.parametrize("noisy", LAYERS)
def test_the_layer_that_adds_the_noise_is_the_worst_not_those_behind_it(noisy: str) -> None:
    behind = LAYERS.index(noisy)
    sqnr_db = {name: 40.0 if index < behind else 15.0 for index, name in enumerate(LAYERS)}
    reads_noise = {
        node.name
        for node in GRAPH.layers
        if any(LAYERS.index(x) >= behind for x in node.inputs.values() if x in LAYERS)
    }
    assert worst(sqnr_db)[0] == noisy
    assert not set(worst(sqnr_db)) & reads_noise


def test_nothing_is_marked_where_nothing_was_compared() -> None:
    assert worst({}) == []


def test_what_to_try_are_overrides_of_that_layer() -> None:
    found = find_worst(GRAPH, dict.fromkeys(LAYERS, 10.0), WEIGHTS, {}, extra_sign_bit=False)
    lines = [line for finding in found for line in finding.advice]
    assert lines
    for line in lines:
        override = yaml.safe_load(re.findall(r"\{.*\}", line)[0])
        config = Config.model_validate({"overrides": [override]}, strict=False)
        assert unused_overrides(GRAPH, config) == ()
