"""`precision: auto`: measures what each format costs in noise, chooses, and checks the choice as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bfpc.config import Config
from bfpc.config_sections import Budget, Format
from bfpc.emulator.session import folded_inputs
from bfpc.errors import CapacityError, ConfigError
from bfpc.jobs import Engine
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.progress import Progress, silent, step
from bfpc.search.check import SQNR, Check, make_check, noise_of
from bfpc.search.choice import Choice, Problem, cheapest, quietest
from bfpc.search.chosen import chosen_config, chosen_yaml
from bfpc.search.costs import network_cost, option_costs
from bfpc.search.decisions import Decision, list_decisions, searched_config
from bfpc.search.front import Front, Point, predicted_front
from bfpc.search.measurements import list_questions, measure, option_noises
from bfpc.search.sensitivity import Answer, Subject, cached_images
from bfpc.search.state import add_answer, begin_state, read_state, state_key
from bfpc.search.tighten import Range, tighten

MOST_COST_CHECKS = 4


@dataclass(frozen=True)
class Checked:
    """A choice that was checked as a whole. predicted: the sum of its sensitivities; noise: what was measured."""

    choice: Choice
    config: Config
    predicted: float
    noise: float
    accuracy: float
    cost: float


@dataclass(frozen=True)
class Chosen:
    """What a search found: the config, its text with comments, what it reaches, and the front around it."""

    config: Config
    text: str
    accuracy: float
    cost: float
    front: Front
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Data:
    """calibration: what sensitivities are measured on, as in `compile_model`. validation: what choices are checked on,
    with `labels` where the accuracy needs some; the calibration data if None.
    """

    calibration: Path | None = None
    validation: Path | None = None
    labels: Path | None = None


def search(
    model: Path,
    config: Config,
    data: Data,
    engine: Engine,
    *,
    state: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Chosen:
    """Chooses the formats of every layer under the budget of `config`.

    state: the file that keeps sensitivities as they are measured; resume: begin with those it holds. Raises a BfpcError
    where the model, the config or the data is at fault, or no choice keeps to the budget.
    """
    budget = _budget(config)
    config = searched_config(config)
    prepared = prepare_network(model, config, data.calibration, None, progress)
    decisions = list_decisions(prepared.graph, config, prepared.statistics.largest)
    check = make_check(model, prepared, config, budget, data.validation or data.calibration, data.labels)
    answers = _measured(prepared, config, decisions, engine, state, resume, progress)
    costs = option_costs(prepared.graph, config, decisions)
    problem = Problem(costs, option_noises(decisions, answers))
    searcher = _Searcher(prepared, config, decisions, problem, check, engine, progress)
    best = searcher.within_cost(budget) if budget.at_least is None else searcher.above_floor(budget, budget.at_least)
    front = searcher.front(budget, best)
    text = chosen_yaml(best.config, _title(budget, best), _notes(decisions, problem, best.choice, budget))
    warnings = (*prepared.network.warnings, *prepared.data.warnings)
    return Chosen(best.config, text, best.accuracy, best.cost, front, warnings)


def _budget(config: Config) -> Budget:
    if config.budget is None:
        fix = "add budget: {at_least: 30} for an SQNR of 30 dB at the lowest cost, or at_most: for a cost"
        raise ConfigError("the formats are to be chosen, but under no budget", where="budget", fix=fix)
    return config.budget


def _measured(
    prepared: Prepared,
    config: Config,
    decisions: Sequence[Decision],
    engine: Engine,
    state: Path | None,
    resume: bool,
    progress: Progress,
) -> dict[str, Answer]:
    """The sensitivities, from the state file and measured."""
    graph, arrays = prepared.graph, prepared.data.arrays
    key = state_key(prepared.network.model.SerializeToString(deterministic=True), config, arrays)
    known = read_state(state, key) if state is not None and resume else {}
    if state is not None and not resume:
        begin_state(state, key)

    def keep(answer: Answer) -> None:
        if state is not None:
            add_answer(state, answer)

    images = cached_images(graph, len(prepared.data))
    inputs = {name: maps[:images] for name, maps in folded_inputs(graph, arrays).items()}
    subject = Subject(graph, inputs, config.passes.correct_bias)
    return measure(subject, list_questions(decisions), known, engine, keep, progress)


class _Searcher:
    """Makes configs of choices and checks them, each once."""

    def __init__(
        self,
        prepared: Prepared,
        config: Config,
        decisions: Sequence[Decision],
        problem: Problem,
        check: Check,
        engine: Engine,
        progress: Progress,
    ) -> None:
        self._prepared, self._config, self._decisions, self._problem = prepared, config, decisions, problem
        self._check, self._engine, self._progress = check, engine, progress
        self.checked: dict[Choice, Checked] = {}

    def check(self, choice: Choice) -> Checked:
        if choice not in self.checked:
            self.checked[choice] = step(self._progress, "checking a choice", lambda: self._checked(choice))
        return self.checked[choice]

    def _checked(self, choice: Choice) -> Checked:
        config = chosen_config(self._prepared.graph, self._config, self._decisions, self._formats(choice))
        graph = quantize_network(self._prepared, config)
        accuracy = self._check(self._engine, self._prepared, config, graph)
        predicted = self._problem.noise(choice)
        noise = predicted if accuracy.noise is None else accuracy.noise
        return Checked(choice, config, predicted, noise, accuracy.value, network_cost(graph))

    def _formats(self, choice: Choice) -> list[Format]:
        return [decision.options[index].format for decision, index in zip(self._decisions, choice, strict=True)]

    def above_floor(self, budget: Budget, floor: float) -> Checked:
        """The cheapest choice found whose accuracy is at least `floor`."""
        noises = self._problem.noises
        range_ = Range(*(max(sum(float(end(each)) for each in noises), 1e-30) for end in (np.min, np.max)))

        def check(most_noise: float) -> Checked:
            # Of the lowest budget there may be no choice, by rounding.
            return self.check(cheapest(self._problem, most_noise) or quietest(self._problem, math.inf) or ())

        target = noise_of(floor) if budget.accuracy == SQNR else None
        best = tighten(check, lambda result: result.accuracy >= floor, range_, target)
        if best is None:
            raise self._out_of_reach(budget, floor)
        return best

    def _out_of_reach(self, budget: Budget, floor: float) -> CapacityError:
        best = max(self.checked.values(), key=lambda result: result.accuracy)
        formats = best.config.formats
        reached = f"the best found is {best.accuracy:.4g}, mostly with {formats.activation.mantissa_bits} bits for maps"
        what = f"no choice of formats reaches {budget.accuracy} {floor:g}: {reached} and {formats.weight.mantissa_bits}"
        fix = "lower budget.at_least, or add wider formats to search.activation_bits and search.weight_bits"
        return CapacityError(f"{what} for weights", where="budget.at_least", fix=fix)

    def within_cost(self, budget: Budget) -> Checked:
        """The most accurate choice found whose cost is at most the budget's."""
        most = limit = budget.at_most or 0.0
        for _ in range(MOST_COST_CHECKS):
            choice = quietest(self._problem, limit)
            if choice is None:
                break
            result = self.check(choice)
            if result.cost <= most:
                return result
            limit *= most / result.cost
        least = self._problem.cost([int(costs.argmin()) for costs in self._problem.costs])
        fix = "raise budget.at_most, or add narrower formats to search.activation_bits and search.weight_bits"
        what = f"no choice of formats costs {most:g} {budget.cost} or less: the least is about {least:.4g}"
        raise CapacityError(what, where="budget.at_most", fix=fix)

    def front(self, budget: Budget, best: Checked) -> Front:
        """Costs and accuracies: predicted, of all that was checked, and of one format for everything."""
        kept = dict(self.checked)
        uniform = {bits: self.check(choice) for bits, choice in self._uniform().items()}
        return Front(
            accuracy=budget.accuracy,
            cost=budget.cost,
            predicted=predicted_front(self._problem),
            checked=tuple(_point(result) for result in kept.values()),
            uniform=tuple(_point(result, f"{bits} bits") for bits, result in uniform.items()),
            chosen=_point(best),
        )

    def _uniform(self) -> dict[int, Choice]:
        """For each width of both maps and weights the choice that gives it to all; depthwise weights stay as given."""
        search, depthwise = self._config.search, self._config.formats.depthwise_weight
        widths = sorted(set(search.activation_bits) & set(search.weight_bits))
        return {bits: tuple(_uniform(each, bits, depthwise) for each in self._decisions) for bits in widths}


def _uniform(decision: Decision, bits: int, depthwise: Format) -> int:
    """The option with so many bits, or the next wider; of depthwise weights as many as given."""
    formats = [option.format for option in decision.options]
    wanted = depthwise.mantissa_bits if decision.kind == "weight" and type(formats[0]) is Format else bits
    wide = [index for index, format in enumerate(formats) if format.mantissa_bits >= wanted]
    return wide[0] if wide else len(formats) - 1


def _point(result: Checked, name: str = "") -> Point:
    return Point(result.cost, result.accuracy, -10 * math.log10(result.noise or 1e-20), name)


def _title(budget: Budget, best: Checked) -> list[str]:
    bound = f"at_most: {budget.at_most:g}" if budget.at_least is None else f"at_least: {budget.at_least:g}"
    return [
        f"Chosen by bfpc search under budget: {{accuracy: {budget.accuracy}, cost: {budget.cost}, {bound}}}.",
        f"Reaches {budget.accuracy} {best.accuracy:.4g} at {best.cost:.6g} {budget.cost}.",
    ]


def _notes(decisions: Sequence[Decision], problem: Problem, choice: Choice, budget: Budget) -> dict[str, str]:
    """For each layer its share of the predicted noise and of the cost, its map and its weights together."""
    noise, cost = problem.noise(choice) or 1.0, problem.cost(choice) or 1.0
    shares: dict[str, tuple[float, float]] = {}
    for decision, noises, costs, option in zip(decisions, problem.noises, problem.costs, choice, strict=True):
        before = shares.get(decision.name, (0.0, 0.0))
        shares[decision.name] = before[0] + noises[option] / noise, before[1] + costs[option] / cost
    return {
        name: f"{of_noise:.1%} of the noise, {of_cost:.1%} of {budget.cost}"
        for name, (of_noise, of_cost) in shares.items()
    }
