"""The passes on the float network keep what it computes, each and all together, on random graphs."""

from __future__ import annotations

import pytest

from bfpc.config import Config
from bfpc.pipeline import Dump, float_passes, run_passes
from tests.passes.checks import assert_same_outputs
from tests.passes.random_graphs import random_graph


def config(lanes: int = 8, **architecture: int) -> Config:
    blocks, array = {"block_size": 8}, {"c_vec": lanes, "k_vec": 8, **architecture}
    return Config.model_validate({"formats": {"activation": blocks, "weight": blocks}, "architecture": array})


@pytest.mark.parametrize("seed", range(300))
def test_every_pass_keeps_what_a_network_computes(seed: int) -> None:
    graph = random_graph(seed)
    for name, transform in float_passes(config(lanes=8 if seed % 2 else 32)).items():
        before, graph = graph, run_passes(graph, {name: transform}, Dump(None))
        assert_same_outputs(before, graph)
