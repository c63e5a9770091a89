"""`precision: auto`: measures what each format costs in noise, chooses, and checks the choice as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bfpc.config import Config
from bfpc.config_search import Budget
from bfpc.emulator.session import folded_inputs
from bfpc.errors import ConfigError
from bfpc.file_identity import file_identity
from bfpc.ir.graph import Graph
from bfpc.jobs import Engine
from bfpc.pipeline import Prepared, prepare_network, quantize_network
from bfpc.progress import Progress, silent
from bfpc.search.belief import best_believed
from bfpc.search.check import files_behind, make_check
from bfpc.search.checker import Checker
from bfpc.search.choice import Problem
from bfpc.search.chosen import chosen_yaml
from bfpc.search.costs import check_cost, option_costs
from bfpc.search.decisions import list_decisions, searched_config
from bfpc.search.front import Front, Point, predicted_front
from bfpc.search.measurements import list_questions, measure, option_noises
from bfpc.search.refine import refine
from bfpc.search.searcher import Checked, Searcher, sqnr_db_of
from bfpc.search.sensitivity import Subject, cached_images
from bfpc.search.state import State, begin_state, resume_state, state_key

MOST_ROUNDS = 3  # until the layers that the formats leave are those that were measured


@dataclass(frozen=True)
class Chosen:
    """What a search found: the config, its text with comments, what it reaches, and the front around it."""

    config: Config
    text: str
    accuracy: float
    cost: float
    front: Front
    warnings: tuple[str, ...]

    def to_json(self, file: Path) -> str:
        """The object that `bfpc search --json` prints, of a search that wrote `file`."""
        reached = {"file": str(file), "accuracy": self.accuracy, "cost": self.cost}
        return json.dumps({**reached, "front": asdict(self.front), "warnings": self.warnings}, indent=2)


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
    state_file: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Chosen:
    """Chooses the formats of every layer under the budget of `config`.

    state_file: keeps sensitivities as they are measured; resume: begin with those it holds. Which layers there are
    depends a little on the formats: where those chosen leave others, they are measured and the choice is made again.
    Raises a BfpcError where the model, the config or the data is at fault, or no choice keeps to the budget.
    """
    budget = _budget(config)
    check_cost(budget, config)
    config = searched_config(config)
    start, state = config, None
    for _ in range(MOST_ROUNDS):
        prepared = prepare_network(model, start, data.calibration, None, progress)
        state = state or _open_state(prepared, config, state_file, resume)
        searcher = _open_searcher(model, config, budget, data, prepared, state, engine, progress)
        best = best_believed(searcher, searcher.start())
        if best.as_measured:
            break
        start = best.config
    best = refine(searcher, best)
    warnings = (*prepared.network.warnings, *prepared.data.warnings)
    text = chosen_yaml(best.config, _title(budget, best), _notes(searcher, best))
    return Chosen(best.config, text, best.accuracy, best.cost, _front(searcher, best), warnings)


def _budget(config: Config) -> Budget:
    if config.budget is None:
        fix = "add budget: {at_least: 30} for an SQNR of 30 dB at the lowest cost, or at_most: for a cost"
        raise ConfigError("the formats are to be chosen, but under no budget", where="budget", fix=fix)
    return config.budget


def _open_state(prepared: Prepared, config: Config, path: Path | None, resume: bool) -> State:
    if path is None:
        return State()
    key = state_key(prepared.network.model.SerializeToString(deterministic=True), config, prepared.data.arrays)
    return resume_state(path, key) if resume else begin_state(path, key)


def _open_searcher(
    model: Path,
    config: Config,
    budget: Budget,
    data: Data,
    prepared: Prepared,
    state: State,
    engine: Engine,
    progress: Progress,
) -> Searcher:
    """Measures the sensitivities."""
    graph = prepared.graph
    checked, limit = data.validation, None
    if checked is None:
        checked, limit = data.calibration, None if data.labels else config.calibration.images
    check = make_check(model, prepared, config, budget, checked, data.labels, limit)
    decisions = list_decisions(graph, config, prepared.statistics.largest)
    images = cached_images(graph, len(prepared.data))
    inputs = {name: maps[:images] for name, maps in folded_inputs(graph, prepared.data.arrays).items()}
    subject = Subject(graph, inputs, config.passes)
    answers = measure(subject, list_questions(graph, decisions), state, engine, progress)
    costs = option_costs(budget, config, _reference(prepared, config), decisions)
    problem = Problem(costs.own, option_noises(decisions, answers), costs.joints, costs.peak)
    calibration = data.calibration and data.calibration.absolute()  # workers elsewhere may read it again
    files = file_identity(model, calibration, data.validation, data.labels, *files_behind(config, budget))
    checker = Checker(model.absolute(), calibration, budget, prepared, check, files)
    return Searcher(config, budget, graph, decisions, problem, checker, engine, state, progress)


def _reference(prepared: Prepared, config: Config) -> Graph:
    """The network in its given formats, as simply quantized as can be."""
    return quantize_network(prepared, config.without_passes())


def _front(searcher: Searcher, best: Checked) -> Front:
    uniform = {name: searcher.checked[choice] for name, choice in searcher.uniform().items()}
    checked = [result for result in searcher.checked.values() if result not in uniform.values()]
    return Front(
        accuracy=searcher.budget.accuracy,
        cost=searcher.budget.cost,
        predicted=predicted_front(searcher.problem),
        checked=tuple(map(_point, checked)),
        uniform=tuple(_point(result, name) for name, result in uniform.items()),
        chosen=_point(best),
    )


def _point(result: Checked, name: str = "") -> Point:
    return Point(result.cost, result.accuracy, sqnr_db_of(result.noise), name)


def _title(budget: Budget, best: Checked) -> list[str]:
    bound = f"at_most: {budget.at_most:g}" if budget.at_least is None else f"at_least: {budget.at_least:g}"
    return [
        f"Chosen by bfpc search under budget: {{accuracy: {budget.accuracy}, cost: {budget.cost}, {bound}}}.",
        f"Reaches {budget.accuracy} {best.accuracy:.4g} at {best.cost:.6g} {budget.cost}.",
    ]


def _notes(searcher: Searcher, best: Checked) -> dict[str, str]:
    """For each layer its share of the predicted noise and of the cost, its map and its weights together."""
    problem, cost = searcher.problem, searcher.budget.cost
    whole = best.predicted or 1.0, problem.cost(best.choice) or 1.0
    shares: dict[str, tuple[float, float]] = {}
    for decision, noises, costs, option in zip(
        searcher.decisions, problem.noises, problem.costs, best.choice, strict=True
    ):
        noise_before, cost_before = shares.get(decision.name, (0.0, 0.0))
        shares[decision.name] = noise_before + noises[option] / whole[0], cost_before + costs[option] / whole[1]
    return {
        name: f"{noise:.1%} of the noise" + (f", {share:.1%} of {cost}" if share else "")
        for name, (noise, share) in shares.items()
    }
