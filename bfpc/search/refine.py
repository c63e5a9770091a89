"""Improves on a choice by checks of the whole: others near it, of which corrected predictions promise most.

A proposal raises a few layers and lowers others, more or fewer of them at a time.
"""

from __future__ import annotations

import math
from operator import itemgetter

import numpy as np

from bfpc.search.check import SQNR, noise_of
from bfpc.search.choice import Choice, Near, cheapest, quietest
from bfpc.search.corrections import Check, Corrections, believed_noises, check_errors, corrected, fit_corrections
from bfpc.search.searcher import GIVEN, Checked, Searcher

TOGETHER = 4  # proposals that are checked at a time, before predictions are corrected again
CHANGES = (2, 4, 8, 16)  # decisions that a proposal changes at most, in turn
DRAWS = 4  # of one proposal, until it is a new one


def refine(searcher: Searcher, best: Checked) -> Checked:
    """The best choice after as many more checks as the config allows. best: the one to begin with."""
    random, left = np.random.default_rng(0), searcher.config.search.checks
    while left > 0:
        corrections = fit_corrections(searcher.problem, best.choice, _checks(searcher))
        proposals = _propose(searcher, best, corrections, random)[:left]
        if not proposals:
            break
        searcher.check(proposals)
        best = _best(searcher, best)
        left -= len(proposals)
    return best


def _checks(searcher: Searcher) -> list[Check]:
    """All so far."""
    checked = list(searcher.checked.values())
    errors = check_errors([each.noises for each in checked])
    return [Check(each.choice, each.noise, error) for each, error in zip(checked, errors, strict=True)]


def _best(searcher: Searcher, best: Checked) -> Checked:
    """The best of all that was checked.

    What was measured on a few images may be so by chance. Of those that keep to a cost, and are no worse than the
    formats given, the best is therefore the one with the least noise by this check and all others; and a floor must
    hold by all checks, too. The formats given need no such belief: nothing made them the best of many.
    """
    checked, budget = list(searcher.checked.values()), searcher.budget
    if budget.accuracy != SQNR:
        return searcher.best(checked) or best
    given = searcher.checked[searcher.uniform()[GIVEN]]
    believed = list(zip(believed_noises(searcher.problem, best.choice, _checks(searcher)), checked, strict=True))
    if budget.at_least is not None:
        most = noise_of(budget.at_least)
        return searcher.best([each for noise, each in believed if noise <= most or each is given]) or best
    least = given.accuracy if searcher.holds(given) else -math.inf
    held = [(noise, each) for noise, each in believed if searcher.holds(each) and each.accuracy >= least]
    return min(held, key=itemgetter(0), default=(0.0, best))[1]


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
