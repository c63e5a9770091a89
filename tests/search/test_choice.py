"""The integer program, against all choices one by one."""

from __future__ import annotations

import ctypes
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfpc.search.choice import Joint, Near, Peak, Problem, cheapest, quietest
from bfpc.search.quiet import quiet_stdout

AMOUNTS = st.one_of(st.just(0.0), st.floats(0.01, 100.0))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))

    def tables() -> tuple[np.ndarray, ...]:
        return tuple(np.array(draw(st.lists(AMOUNTS, min_size=size, max_size=size))) for size in sizes)

    costs, noises, joints = tables(), tables(), []
    for first, second in draw(st.lists(st.tuples(*[st.integers(0, len(sizes) - 1)] * 2), max_size=2)):
        if first != second:
            cells = draw(st.lists(st.sampled_from([0.0, 1.0, 7.5]), min_size=16, max_size=16))
            joints.append(Joint(first, second, np.array(cells).reshape(4, 4)[: sizes[first], : sizes[second]]))
    return Problem(costs, noises, tuple(joints), draw(st.none() | peaks(sizes)))


@st.composite
def peaks(draw: st.DrawFn, sizes: list[int]) -> Peak:
    """Costs that grow along both axes, of three levels each."""
    levels = [draw(st.lists(st.tuples(*[st.integers(0, 2)] * 2), min_size=size, max_size=size)) for size in sizes]
    steps = draw(st.lists(st.integers(0, 5), min_size=9, max_size=9))
    costs = np.array(steps, float).reshape(3, 3).cumsum(axis=0).cumsum(axis=1)
    return Peak(tuple(map(np.array, levels)), costs)


def choices(problem: Problem) -> list[tuple[int, ...]]:
    return list(product(*(range(len(costs)) for costs in problem.costs)))


@given(problems(), st.floats(0.01, 300.0))
def test_the_cheapest_choice_within_a_noise_costs_as_little_as_any(problem: Problem, most: float) -> None:
    costs = [problem.cost(choice) for choice in choices(problem) if problem.noise(choice) <= most]
    found = cheapest(problem, most)
    if found is None:
        assert not costs
    else:
        assert problem.noise(found) <= most * (1 + 1e-5)
        assert problem.cost(found) <= min(costs, default=np.inf) * (1 + 1e-4) + 1e-4


@given(problems(), st.floats(0.01, 300.0))
def test_the_quietest_choice_within_a_cost_is_as_quiet_as_any(problem: Problem, most: float) -> None:
    noises = [problem.noise(choice) for choice in choices(problem) if problem.cost(choice) <= most]
    found = quietest(problem, most)
    if found is None:
        assert not noises
    else:
        assert problem.cost(found) <= most * (1 + 1e-5)
        assert problem.noise(found) <= min(noises, default=np.inf) * (1 + 1e-4) + 1e-4


def test_of_equally_cheap_choices_the_quietest_is_taken() -> None:
    problem = Problem((np.array([1.0, 1.0, 2.0]),), (np.array([0.5, 0.2, 0.1]),))
    assert cheapest(problem, 0.9) == (1,)


@pytest.mark.parametrize("most", [1e-9, 1e9])
def test_limits_may_lie_far_from_the_numbers(most: float) -> None:
    problem = Problem((np.array([3.0, 1.0]),) * 3, (np.array([1e-12, 1e-3]),) * 3)
    assert cheapest(problem, most) == ((0, 0, 0) if most < 1 else (1, 1, 1))


@given(problems(), st.floats(0.01, 300.0), st.integers(0, 3), st.data())
def test_a_choice_near_another_is_the_best_that_differs_as_little(
    problem: Problem, most: float, changes: int, data: st.DataObject
) -> None:
    start = data.draw(st.sampled_from(choices(problem)))
    near = [c for c in choices(problem) if sum(a != b for a, b in zip(c, start, strict=True)) <= changes]
    noises = [problem.noise(choice) for choice in near if problem.cost(choice) <= most]
    found = quietest(problem, most, Near(start, changes))
    if found is None:
        assert not noises
    else:
        assert found in near
        assert problem.noise(found) <= min(noises, default=np.inf) * (1 + 1e-4) + 1e-4


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stdout():
        ctypes.CDLL(None).puts(b"from the solver")
    sys.stdout.write("from Python\n")
    assert capfd.readouterr().out == "from Python\n"
