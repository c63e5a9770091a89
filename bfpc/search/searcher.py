"""Choices of one network's formats, checked: the cheapest above a floor, or the most accurate within a cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.config_sections import Format
from bfpc.errors import CapacityError
from bfpc.ir.graph import Graph
from bfpc.jobs import Engine
from bfpc.progress import Progress
from bfpc.search.check import SQNR, noise_of
from bfpc.search.checker import Checker, Outcome, layers_digest, open_checker
from bfpc.search.choice import Choice, Problem, cheapest, quietest
from bfpc.search.chosen import chosen_config
from bfpc.search.decisions import Decision
from bfpc.search.state import State
from bfpc.search.tighten import Range, tighten

MOST_COST_CHECKS = 4
LEAST_NOISE = 1e-20  # stands for none: noise is divided, and its logarithm taken
GIVEN = "as given"


@dataclass(frozen=True)
class Checked:
    """A choice that was checked as a whole.

    predicted: the sum of its sensitivities; noise: what was measured; noises: by batch of images, see `Accuracy`.
    as_measured: whether the config leaves the layers that sensitivities were measured on; else some of its formats go
    to layers that there aren't.
    """

    choice: Choice
    config: Config
    predicted: float
    noise: float
    noises: tuple[float, ...]
    accuracy: float
    cost: float
    as_measured: bool


@dataclass(frozen=True)
class Searcher:
    """What it takes to make configs of choices, and to check them, each once.

    config: see `searched_config`; graph: of float layers.
    """

    config: Config
    budget: Budget
    graph: Graph
    decisions: tuple[Decision, ...]
    problem: Problem
    checker: Checker
    engine: Engine
    state: State
    progress: Progress
    checked: dict[Choice, Checked] = field(default_factory=dict)

    def start(self) -> Checked:
        """The best choice by sensitivities, or the formats given, or one width for all, whichever is best.

        Raises CapacityError where none keeps to the budget.
        """
        uniform = self.check(list(self.uniform().values()))
        floor, most = self.budget.at_least, self.budget.at_most or 0.0
        found = self._within_cost(most) if floor is None else self._above_floor(floor)
        best = self.best([*([] if found is None else [found]), *uniform])
        if best is None:
            raise self._above_cost(most) if floor is None else self._out_of_reach(floor)
        return best

    def best(self, results: Sequence[Checked]) -> Checked | None:
        """The best of those that keep to the budget, if any does; of equals the first."""
        held = [result for result in results if self.holds(result)]
        if self.budget.at_least is not None:
            return min(held, key=lambda result: (result.cost, -result.accuracy), default=None)
        return min(held, key=lambda result: (-result.accuracy, result.noise, result.cost), default=None)

    def holds(self, result: Checked) -> bool:
        """Whether it keeps to the budget."""
        floor, most = self.budget.at_least, self.budget.at_most
        if floor is not None:
            return result.accuracy >= floor
        return most is not None and result.cost <= most

    def check(self, choices: Sequence[Choice]) -> list[Checked]:
        """The results of these choices; those not known yet are worked out by the engine."""
        configs = {choice: self._config(choice) for choice in choices if choice not in self.checked}
        missing = [each for each in configs.values() if self.state.find_outcome(self.checker.text(each)) is None]
        outcomes = self.engine.map(open_checker, self.checker, missing) if missing else iter(())
        for config, outcome in zip(self.progress(missing, "checking choices"), outcomes, strict=True):
            self.state.add_outcome(self.checker.text(config), outcome)
        for choice, config in configs.items():
            known = self.state.find_outcome(self.checker.text(config))
            assert known is not None
            self.checked[choice] = self._result(choice, config, known)
        return [self.checked[choice] for choice in choices]

    def _config(self, choice: Choice) -> Config:
        formats = [decision.options[index].format for decision, index in zip(self.decisions, choice, strict=True)]
        return chosen_config(self.graph, self.config, self.decisions, formats)

    def _result(self, choice: Choice, config: Config, found: Outcome) -> Checked:
        predicted = self.problem.noise(choice)
        noise = max(sum(found.noises) if found.noises else predicted, LEAST_NOISE)
        as_measured = found.layers == layers_digest(self.graph)
        return Checked(choice, config, predicted, noise, found.noises, found.accuracy, found.cost, as_measured)

    def _above_floor(self, floor: float) -> Checked | None:
        """The cheapest by sensitivities of which a check holds."""
        noises = self.problem.noises
        least, most = (max(sum(float(end(each)) for each in noises), LEAST_NOISE) for end in (np.min, np.max))
        target = noise_of(floor) if self.budget.accuracy == SQNR else None
        return tighten(self._cheapest, self.holds, Range(least, most), target)

    def _cheapest(self, most_noise: float) -> Checked:
        choice = cheapest(self.problem, most_noise)
        [result] = self.check([self._quietest() if choice is None else choice])
        return result

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

    def _within_cost(self, most: float) -> Checked | None:
        """The quietest by sensitivities whose cost really is at most this."""
        limit = most
        for _ in range(MOST_COST_CHECKS):
            choice = quietest(self.problem, limit)
            if choice is None:
                return None
            [result] = self.check([choice])
            if result.cost <= most:
                return result
            limit *= most / result.cost
        return None

    def _above_cost(self, most: float) -> CapacityError:
        least = self.problem.cost(cheapest(self.problem, math.inf) or self._quietest())
        fix = "raise budget.at_most, or add narrower formats to search.activation_bits and search.weight_bits"
        what = f"no choice of formats costs {most:g} {self.budget.cost} or less: the least is about {least:.4g}"
        return CapacityError(what, where="budget.at_most", fix=fix)

    def uniform(self) -> dict[str, Choice]:
        """The formats given, and each width of both maps and weights for all; depthwise weights stay as given."""
        search = self.config.search
        widths = sorted(set(search.activation_bits) & set(search.weight_bits))
        choices = {f"{bits} bits": tuple(_uniform(each, bits) for each in self.decisions) for bits in widths}
        return {GIVEN: (0,) * len(self.decisions), **choices}


def sqnr_db_of(noise: float) -> float:
    return -10 * math.log10(max(noise, LEAST_NOISE))


def _uniform(decision: Decision, bits: int) -> int:
    """The option with so many bits, or the next wider; of depthwise weights what is given."""
    formats: Sequence[Format] = [option.format for option in decision.options]
    if decision.kind == "weight" and type(formats[0]) is Format:
        return 0
    wide = [index for index, format in enumerate(formats) if format.mantissa_bits >= bits]
    return min(wide, key=lambda index: formats[index].mantissa_bits, default=len(formats) - 1)
