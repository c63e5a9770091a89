"""Which of the choices checked is the best, on ever so many images: few images tell it only roughly."""

from __future__ import annotations

import math
from operator import itemgetter

from bfpc.search.check import SQNR, noise_of
from bfpc.search.corrections import Check, believed_noises, image_levels
from bfpc.search.searcher import GIVEN, LEAST_NOISE, Checked, Searcher


def all_checks(searcher: Searcher) -> list[Check]:
    """What each check so far says of its choice, all images counting alike."""
    checked = list(searcher.checked.values())
    levels, error = image_levels([each.noises or (each.noise,) for each in checked])
    return [Check(each.choice, max(level, LEAST_NOISE), error) for each, level in zip(checked, levels, strict=True)]


def best_or_given(searcher: Searcher, best: Checked) -> Checked:
    """`best`, or the formats given: where they keep to a cost, only what is quieter by more than chance replaces them.

    Quieter by its own check, beyond the standard error of the difference: predictions flatter what they chose.
    """
    given = searcher.checked[searcher.uniform()[GIVEN]]
    if searcher.budget.accuracy != SQNR or searcher.budget.at_least is not None or not searcher.holds(given):
        return best
    checks = {check.choice: check for check in all_checks(searcher)}
    gain = math.log(checks[given.choice].noise / checks[best.choice].noise)
    return best if gain > math.sqrt(2) * checks[best.choice].error else given


def best_believed(searcher: Searcher, best: Checked) -> Checked:
    """The best of all that was checked. best: the one so far.

    What was measured on a few images may be so by chance: of the formats given as of any other choice. Of those that
    keep to a cost, the best is therefore the one with the least noise by this check and all others; of equals the first
    checked. A floor must hold by all checks, too, but for the formats given: nothing made them the best of many.
    """
    checked, budget = list(searcher.checked.values()), searcher.budget
    if budget.accuracy != SQNR:
        return searcher.best(checked) or best
    believed = list(zip(believed_noises(searcher.problem, best.choice, all_checks(searcher)), checked, strict=True))
    if budget.at_least is not None:
        given, most = searcher.checked[searcher.uniform()[GIVEN]], noise_of(budget.at_least)
        return searcher.best([each for noise, each in believed if noise <= most or each is given]) or best
    held = [(noise, each) for noise, each in believed if searcher.holds(each)]
    return min(held, key=itemgetter(0), default=(0.0, best))[1]
