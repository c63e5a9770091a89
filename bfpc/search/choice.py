"""The choice: one option for each decision, as an integer program. Knows nothing of networks.

    minimize    sum of the chosen options' costs, of the joint costs of pairs of them, and what the highest cost
    subject to  sum of the chosen options' noises <= most_noise

or the other way round. Joint costs are exact: beside the binary variables of the options, a continuous one stands for
each pair of options, whose sums over one option's pairs are that option's variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from bfpc.search.quiet import quiet_stdout

Numbers = NDArray[np.float64]
Choice = tuple[int, ...]
_Table = tuple[Numbers, NDArray[np.intp], NDArray[np.intp]]

RELATIVE_GAP = 1e-4  # between the solution found and the best there could be
SLACK = 1 + 1e-6  # the solver's tolerance of a constraint
OUT_OF_REACH = 2.0  # an option that exceeds a limit this often by itself is as impossible as one beyond that


@dataclass(frozen=True, eq=False)
class Joint:
    """What two decisions cost together, beside what each does: costs [options of first, options of second]."""

    first: int
    second: int
    costs: Numbers


@dataclass(frozen=True, eq=False)
class Peak:
    """What the highest of all chosen options cost, along two axes, as an array that must be as wide as the widest.

    levels: for each decision the levels of its options [options, 2], from 0; costs [levels of the first axis, levels of
    the second], which don't fall.
    """

    levels: tuple[NDArray[np.intp], ...]
    costs: Numbers

    def cost(self, choice: Sequence[int]) -> float:
        chosen = [levels[option] for levels, option in zip(self.levels, choice, strict=True)]
        first, second = np.max(chosen, axis=0)
        return float(self.costs[first, second])


@dataclass(frozen=True)
class Near:
    """Choices that differ from this one in at most so many decisions."""

    choice: Choice
    changes: int


@dataclass(frozen=True, eq=False)
class Problem:
    """costs, noises: for each decision those of its options, none negative."""

    costs: tuple[Numbers, ...]
    noises: tuple[Numbers, ...]
    joints: tuple[Joint, ...] = ()
    peak: Peak | None = None

    def cost(self, choice: Sequence[int]) -> float:
        own = sum(float(costs[option]) for costs, option in zip(self.costs, choice, strict=True))
        joint = sum(float(joint.costs[choice[joint.first], choice[joint.second]]) for joint in self.joints)
        return own + joint + (self.peak.cost(choice) if self.peak else 0.0)

    def noise(self, choice: Sequence[int]) -> float:
        return sum(float(noises[option]) for noises, option in zip(self.noises, choice, strict=True))


def cheapest(problem: Problem, most_noise: float, near: Near | None = None) -> Choice | None:
    """The quietest of the choices of least cost whose noise is at most `most_noise`; None where there is no such."""
    program = _Program(problem, near)
    first = program.solve(program.costs, program.noises, most_noise)
    if first is None:
        return None
    return (
        program.solve(program.noises, program.costs, problem.cost(first) * SLACK, program.noises, most_noise) or first
    )


def quietest(problem: Problem, most_cost: float, near: Near | None = None) -> Choice | None:
    """The choice of least noise whose cost is at most `most_cost`; None where there is none."""
    program = _Program(problem, near)
    return program.solve(program.noises, program.costs, most_cost)


class _Program:
    """A problem as a mixed integer program: variables of the options, of the joint costs, then of the peak's."""

    def __init__(self, problem: Problem, near: Near | None) -> None:
        self._starts = np.cumsum([0, *(len(costs) for costs in problem.costs)])
        tables = [_distinct(joint.costs) for joint in problem.joints]
        peaks = np.zeros(0) if problem.peak is None else problem.peak.costs.ravel()
        sizes = [int(self._starts[-1]), *(table.size for table, _, _ in tables), peaks.size]
        self._joint_starts = np.cumsum(sizes)
        variables = int(self._joint_starts[-1])
        self.costs = np.concatenate([*problem.costs, *(table.ravel() for table, _, _ in tables), peaks])
        self.noises = np.concatenate([*problem.noises, np.zeros(variables - sizes[0])])
        self._integer = np.ones(variables)
        self._integer[sizes[0] : variables - peaks.size] = 0
        self._constraints = [
            _one_of_each([_indicator(range(start, stop), variables) for start, stop in self._spans()]),
            *self._joint_constraints(problem, tables, variables),
            *self._peak_constraints(problem.peak, variables),
            *self._near_constraints(near, variables),
        ]
        self._bounds = Bounds(0, np.concatenate([self._efficient(problem, near), np.ones(variables - sizes[0])]))

    def _efficient(self, problem: Problem, near: Near | None) -> Numbers:
        """For each option 1, or 0 where another of its decision costs no more and is as quiet, in all respects."""
        if problem.peak is not None:
            return np.ones(self._starts[-1])
        joined = {side for joint in problem.joints for side in (joint.first, joint.second)}
        efficient = [
            np.ones(len(costs)) if decision in joined else _undominated(costs, noises)
            for decision, (costs, noises) in enumerate(zip(problem.costs, problem.noises, strict=True))
        ]
        for kept, option in zip(efficient, near.choice if near else (), strict=False):
            kept[option] = 1
        return np.concatenate(efficient)

    def _near_constraints(self, near: Near | None, variables: int) -> list[LinearConstraint]:
        """Most of the variables of the options of a choice are 1."""
        if near is None:
            return []
        same = self._starts[:-1] + np.array(near.choice)
        return [LinearConstraint(_indicator(same, variables), lb=[len(same) - near.changes])]

    def _joint_constraints(self, problem: Problem, tables: list[_Table], variables: int) -> list[LinearConstraint]:
        """The variables of a joint cost that have an option add up to the option's."""
        rows = []
        for joint, (table, *sides), start in zip(problem.joints, tables, self._joint_starts, strict=False):
            cells = start + np.arange(table.size).reshape(table.shape)
            for decision, classes, grid in zip((joint.first, joint.second), sides, (cells, cells.T), strict=True):
                for kind, row in enumerate(grid):
                    members = self._starts[decision] + np.flatnonzero(classes == kind)
                    rows.append(_indicator(row, variables) - _indicator(members, variables))
        return [LinearConstraint(sparse.vstack(rows, "csr"), 0.0, 0.0)] if rows else []

    def _peak_constraints(self, peak: Peak | None, variables: int) -> list[LinearConstraint]:
        """One of the peak's variables is 1, and no option is higher than it."""
        if peak is None:
            return []
        cells = (variables - peak.costs.size) + np.arange(peak.costs.size).reshape(peak.costs.shape)
        rows = [
            _indicator([start + option], variables) - _indicator(cells[first:, second:].ravel(), variables)
            for start, levels in zip(self._starts, peak.levels, strict=False)
            for option, (first, second) in enumerate(levels)
        ]
        above = LinearConstraint(sparse.vstack(rows, "csr"), -np.inf, 0.0)
        return [_one_of_each([_indicator(cells.ravel(), variables)]), above]

    def _spans(self) -> list[tuple[int, int]]:
        return [(int(start), int(stop)) for start, stop in zip(self._starts, self._starts[1:], strict=False)]

    def solve(self, objective: Numbers, *limits: Numbers | float) -> Choice | None:
        """limits: in turn what is limited, and its limit."""
        constraints = list(self._constraints)
        for limited, limit in zip(limits[::2], limits[1::2], strict=True):
            if limit <= 0:
                constraints.append(LinearConstraint(np.atleast_2d(limited), ub=[0.0]))
            else:
                constraints.append(LinearConstraint(np.minimum(limited / limit, OUT_OF_REACH)[None], ub=[1.0]))
        least = sum(float(objective[start:stop].min()) for start, stop in self._spans())
        scale = least or float(objective.max()) or 1.0
        with quiet_stdout():
            found = milp(
                objective / scale,
                integrality=self._integer,
                bounds=self._bounds,
                constraints=constraints,
                options={"mip_rel_gap": RELATIVE_GAP},
            )
        if found.x is None:
            return None
        return tuple(int(found.x[start:stop].argmax()) for start, stop in self._spans())


def _undominated(costs: Numbers, noises: Numbers) -> Numbers:
    """1 for each option that none before it in the order of cost, then noise, is as quiet as; 0 for the others."""
    order = np.lexsort((noises, costs))
    least = np.minimum.accumulate(np.concatenate([[np.inf], noises[order][:-1]]))
    kept = np.empty(len(costs))
    kept[order] = noises[order] < least
    return kept


def _one_of_each(rows: list[sparse.csr_array]) -> LinearConstraint:
    return LinearConstraint(sparse.vstack(rows, "csr"), 1.0, 1.0)


def _indicator(members: Sequence[int] | NDArray[np.integer], size: int) -> sparse.csr_array:
    ones = np.ones(len(members))
    return sparse.csr_array((ones, (np.zeros(len(members), int), np.asarray(members))), shape=(1, size))


def _distinct(costs: Numbers) -> _Table:
    """The table without repeated rows and columns, and which of them each option of the first and second has."""
    rows, first = np.unique(costs, axis=0, return_inverse=True)
    table, second = np.unique(rows, axis=1, return_inverse=True)
    return table, first.reshape(-1), second.reshape(-1)
