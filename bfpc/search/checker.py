"""Checks configs as a whole, several at a time in the engine's workers: each with all of its passes, bit-exact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.ir.graph import Graph
from bfpc.jobs import ThisProcess
from bfpc.pipeline import Dump, Prepared, float_passes, prepare_network, quantize_network, run_passes
from bfpc.search.check import Check
from bfpc.search.costs import network_cost


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    noises: see `Accuracy`. layers: a digest of those that the config leaves, see `layers_digest`.
    """

    accuracy: float
    noises: tuple[float, ...]
    cost: float
    layers: str


@dataclass(frozen=True)
class Checker:
    """What checks share. model, calibration: as in `compile_model`. identity: of all files behind a check, as text."""

    model: Path
    calibration: Path | None
    budget: Budget
    prepared: Prepared
    accuracy: Check
    identity: str

    def text(self, config: Config) -> str:
        """All that the outcome depends on."""
        return "\n".join((self.identity, self.budget.accuracy, self.budget.cost, config.model_dump_json()))


def layers_digest(graph: Graph) -> str:
    """The same for the same nodes."""
    return hashlib.sha256(repr(graph.nodes).encode()).hexdigest()[:16]


def open_checker(checker: Checker) -> Callable[[Config], Outcome]:
    return partial(_check, checker)


def _check(checker: Checker, config: Config) -> Outcome:
    prepared = checker.prepared
    layers = run_passes(prepared.network.graph, float_passes(config), Dump(None))
    if layers.nodes != prepared.graph.nodes:
        prepared = prepare_network(checker.model, config, checker.calibration)
    graph = quantize_network(prepared, config)
    accuracy = checker.accuracy(ThisProcess(), prepared, config, graph)
    return Outcome(accuracy.value, accuracy.noises, network_cost(checker.budget, config, graph), layers_digest(layers))
