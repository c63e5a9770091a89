"""What the generator of random networks promises to the tests that use it."""

import onnx
import pytest

from bfpc.frontend.operators import IMPORTERS
from tests.networks.random_networks import random_network

SEEDS = range(500)
# Cast needs two types of input.
ELSEWHERE = {"Cast"}


def operators_of(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_a_seed_names_one_network() -> None:
    assert random_network(3).SerializeToString() == random_network(3).SerializeToString()


def test_the_networks_cover_every_operator_the_frontend_reads() -> None:
    covered = set().union(*(operators_of(random_network(seed)) for seed in SEEDS))
    assert covered == IMPORTERS.keys() - ELSEWHERE


def test_operators_of_the_host_lie_between_those_of_the_accelerator() -> None:
    models = [random_network(seed, with_host=True) for seed in range(30)]
    assert all(operators_of(model) - IMPORTERS.keys() for model in models)


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_both_input_layouts_occur(layout: str) -> None:
    firsts = [random_network(seed).graph.node[0].op_type for seed in range(20)]
    assert any((first in ("Transpose", "Sub")) == (layout == "channels last") for first in firsts)
