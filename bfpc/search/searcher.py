"""Choices of one network's formats, checked: the cheapest above a floor, or the most accurate within a cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bfpc.config import Config
from bfpc.config_sections import Budget, Format
from bfpc.errors import CapacityError
from bfpc.jobs import Engine
from bfpc.pipeline import Dump, Prepared, float_passes, prepare_network, quantize_network, run_passes
from bfpc.progress import Progress, step
from bfpc.search.check import SQNR, Check, noise_of
from bfpc.search.choice import Choice, Problem, cheapest, quietest
from bfpc.search.chosen import chosen_config
from bfpc.search.costs import network_cost
from bfpc.search.decisions import Decision
from bfpc.search.tighten import Range, tighten

MOST_COST_CHECKS = 4
LEAST_NOISE = 1e-20  # stands for none: noise is divided, and its logarithm taken


@dataclass(frozen=True)
class Checked:
    """A choice that was checked as a whole.

    predicted: the sum of its sensitivities; noise: what was measured. as_measured: whether its config leaves the layers
    that sensitivities were measured on; else some of its formats go to layers that there aren't.
    """

    choice: Choice
    config: Config
    predicted: float
    noise: float
    accuracy: float
    cost: float
    as_measured: bool


@dataclass(frozen=True)
class Searcher:
    """What it takes to make configs of choices, and to check them, each once.

    model, calibration: as in `compile_model`; config: see `searched_config`.
    """

    model: Path
    calibration: Path | None
    config: Config
    budget: Budget
    prepared: Prepared
    decisions: tuple[Decision, ...]
    problem: Problem
    accuracy: Check
    engine: Engine
    progress: Progress
    checked: dict[Choice, Checked] = field(default_factory=dict)

    def best(self) -> Checked:
        """The best choice found under the budget, one width for all among them. Raises CapacityError without any."""
        floor, most = self.budget.at_least, self.budget.at_most or 0.0
        if floor is not None:
            held = [result for result in self.uniform().values() if result.accuracy >= floor]
            return min([self._above_floor(floor), *held], key=lambda result: (result.cost, -result.accuracy))
        held = [result for result in self.uniform().values() if result.cost <= most]
        return max([self._within_cost(most), *held], key=lambda result: (result.accuracy, -result.cost))

    def check(self, choice: Choice) -> Checked:
        if choice not in self.checked:
            self.checked[choice] = step(self.progress, "checking a choice", lambda: self._checked(choice))
        return self.checked[choice]

    def _checked(self, choice: Choice) -> Checked:
        formats = [decision.options[index].format for decision, index in zip(self.decisions, choice, strict=True)]
        config = chosen_config(self.prepared.graph, self.config, self.decisions, formats)
        layers = run_passes(self.prepared.network.graph, float_passes(config), Dump(None))
        as_measured = layers.nodes == self.prepared.graph.nodes
        prepared = self.prepared if as_measured else prepare_network(self.model, config, self.calibration)
        graph = quantize_network(prepared, config)
        accuracy = self.accuracy(self.engine, prepared, config, graph)
        predicted = self.problem.noise(choice)
        noise = predicted if accuracy.noise is None else accuracy.noise
        return Checked(
            choice, config, predicted, noise, accuracy.value, network_cost(self.budget, config, graph), as_measured
        )

    def _above_floor(self, floor: float) -> Checked:
        noises = self.problem.noises
        least, most = (max(sum(float(end(each)) for each in noises), LEAST_NOISE) for end in (np.min, np.max))
        target = noise_of(floor) if self.budget.accuracy == SQNR else None
        best = tighten(self._cheapest, lambda result: result.accuracy >= floor, Range(least, most), target)
        if best is None:
            raise self._out_of_reach(floor)
        return best

    def _cheapest(self, most_noise: float) -> Checked:
        choice = cheapest(self.problem, most_noise)
        return self.check(self._quietest() if choice is None else choice)

    def _quietest(self) -> Choice:
        """Of all choices, whatever they cost."""
        return tuple(int(noises.argmin()) for noises in self.problem.noises)

    def _out_of_reach(self, floor: float) -> CapacityError:
        best = max(self.checked.values(), key=lambda result: result.accuracy)
        maps, weights = best.config.formats.activation.mantissa_bits, best.config.formats.weight.mantissa_bits
        reached = f"the best found is {best.accuracy:.4g}, mostly with {maps} bits for maps and {weights} for weights"
        fix = "lower budget.at_least, or add wider formats to search.activation_bits and search.weight_bits"
        what = f"no choice of formats reaches {self.budget.accuracy} {floor:g}: {reached}"
        return CapacityError(what, where="budget.at_least", fix=fix)

    def _within_cost(self, most: float) -> Checked:
        limit = most
        for _ in range(MOST_COST_CHECKS):
            choice = quietest(self.problem, limit)
            if choice is None:
                break
            result = self.check(choice)
            if result.cost <= most:
                return result
            limit *= most / result.cost
        least = self.problem.cost(cheapest(self.problem, math.inf) or self._quietest())
        fix = "raise budget.at_most, or add narrower formats to search.activation_bits and search.weight_bits"
        what = f"no choice of formats costs {most:g} {self.budget.cost} or less: the least is about {least:.4g}"
        raise CapacityError(what, where="budget.at_most", fix=fix)

    def uniform(self) -> dict[int, Checked]:
        """For each width of both maps and weights what it gives for all; depthwise weights stay as given."""
        search, depthwise = self.config.search, self.config.formats.depthwise_weight
        widths = sorted(set(search.activation_bits) & set(search.weight_bits))
        choices = {bits: tuple(_uniform(each, bits, depthwise) for each in self.decisions) for bits in widths}
        return {bits: self.check(choice) for bits, choice in choices.items()}


def sqnr_db_of(noise: float) -> float:
    return -10 * math.log10(max(noise, LEAST_NOISE))


def _uniform(decision: Decision, bits: int, depthwise: Format) -> int:
    """The option with so many bits, or the next wider; of depthwise weights as many as given."""
    formats: Sequence[Format] = [option.format for option in decision.options]
    wanted = depthwise.mantissa_bits if decision.kind == "weight" and type(formats[0]) is Format else bits
    wide = [index for index, format in enumerate(formats) if format.mantissa_bits >= wanted]
    return wide[0] if wide else len(formats) - 1
