"""Improves on a choice by checks of the whole: others near it, of which corrected predictions promise most.

A proposal raises a few layers and lowers others, more or fewer of them at a time.
"""

from __future__ import annotations

import numpy as np

from bfpc.search.belief import all_checks, best_believed, best_or_given
from bfpc.search.check import SQNR, noise_of
from bfpc.search.choice import Choice, Near, cheapest, quietest
from bfpc.search.corrections import Corrections, corrected, fit_corrections
from bfpc.search.searcher import Checked, Searcher

TOGETHER = 4  # proposals that are checked at a time, before predictions are corrected again
CHANGES = (2, 4, 8, 16)  # decisions that a proposal changes at most, in turn
DRAWS = 4  # of one proposal, until it is a new one


def refine(searcher: Searcher, best: Checked) -> Checked:
    """The best choice after as many more checks as the config allows. best: the one to begin with."""
    random, left = np.random.default_rng(0), searcher.config.search.checks
    while left > 0:
        corrections = fit_corrections(searcher.problem, best.choice, all_checks(searcher))
        proposals = _propose(searcher, best, corrections, random)[:left]
        if not proposals:
            break
        searcher.check(proposals)
        best = best_believed(searcher, best)
        left -= len(proposals)
    return best_or_given(searcher, best)


def _propose(searcher: Searcher, best: Checked, corrections: Corrections, random: np.random.Generator) -> list[Choice]:
    """Choices that were not checked yet."""
    found: dict[Choice, None] = {}
    for changes in CHANGES[:TOGETHER]:
        for _ in range(DRAWS):
            choice = _promising(searcher, best, corrections.draw(random), changes)
            if choice is not None and choice not in searcher.checked and choice not in found:
                found[choice] = None
                break
    return list(found)


def _promising(searcher: Searcher, best: Checked, multipliers: np.ndarray, changes: int) -> Choice | None:
    """The best choice near the best one if these are the right multipliers."""
    budget, near = searcher.budget, Near(best.choice, changes)
    problem = corrected(searcher.problem, multipliers)
    if budget.at_most is not None:
        return quietest(problem, budget.at_most * problem.cost(best.choice) / best.cost, near)
    assert budget.at_least is not None
    target = noise_of(budget.at_least) if budget.accuracy == SQNR else best.noise
    return cheapest(problem, target, near)
