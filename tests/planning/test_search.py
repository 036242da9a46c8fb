"""The solvers on costs whose optimum is known, and what must not matter to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.planning.bounds import Bounds
from foreact.planning.search import Budget, knots_to_steps, search
from foreact.planning.solvers import SOLVERS, make_solver

BOUNDS = Bounds(np.array([-4.0, 0.0]), np.array([4.0, 10.0]), np.array([0.0, 5.0]))
BEST = torch.tensor([[1.0, 7.0], [2.0, 3.0]])
SETTINGS = {"cem": {}, "mppi": {}, "gradient": {}, "shooting": {"samples": 500}}


def away(best):
    """The mean squared distance of all actions from the best one of each row."""
    return lambda plans: (plans - best[:, None, None]).square().mean(dim=(-1, -2))


def find(name, best=BEST, *, knots=2, steps=2, seeds=(1, 2), iterations=30, cost=None, **options):
    first = torch.zeros(len(best), knots, 2)
    solver = make_solver(name, **(SETTINGS[name] | options))
    budget = Budget(iterations=iterations)
    return search(cost or away(best), solver, first, steps=steps, bounds=BOUNDS, budget=budget, seeds=seeds)


@pytest.mark.parametrize(("name", "within"), [("cem", 0.05), ("mppi", 0.05), ("gradient", 0.2), ("shooting", 1.5)])
@pytest.mark.parametrize(("knots", "steps"), [(2, 2), (2, 5), (1, 4)])
def test_every_solver_finds_the_optimum(name, within, knots, steps):
    plan = find(name, knots=knots, steps=steps, iterations=60)
    assert plan.actions.shape == (2, steps, 2)
    assert np.abs(plan.actions - BEST[:, None].numpy()).max() < within


@pytest.mark.parametrize("name", SOLVERS)
def test_diagnostics_have_one_form_and_the_best_cost_never_rises(name):
    told = find(name, iterations=6).diagnostics
    assert told.cost.shape == told.elite_spread.shape == (6, 2)
    assert (np.diff(told.cost, axis=0) <= 0).all()
    assert (np.diff(told.seconds) > 0).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_row_does_not_depend_on_who_is_searched_beside_it(name):
    together, alone = find(name), find(name, BEST[1:], seeds=(2,))
    np.testing.assert_allclose(together.actions[1:], alone.actions, atol=1e-4)
    assert not np.allclose(find(name, iterations=1).actions, find(name, iterations=1, seeds=(3, 4)).actions)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(SOLVERS)),
    low=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2),
    width=st.lists(st.floats(0.0, 1e3), min_size=2, max_size=2).filter(any),
    wanted=st.floats(-1e4, 1e4),
)
def test_no_candidate_leaves_the_bounds(name, low, width, wanted):
    low, high = np.array(low), np.array(low) + np.array(width)
    if not (low < high).any():  # a width below the floats' resolution
        return
    bounds, tried = Bounds(low, high, low), []

    def cost(plans):
        tried.append(plans.detach())
        return (plans - wanted).square().mean(dim=(-1, -2))

    solver = make_solver(name, samples=8, **({"elites": 2} if name == "cem" else {}))
    search(cost, solver, torch.zeros(1, 2, 2), steps=3, bounds=bounds, budget=Budget(iterations=3), seeds=[0])
    slack = 1e-5 * (1 + np.abs([low, high]).max())
    for plans in tried:
        assert (plans.numpy() >= low - slack).all()
        assert (plans.numpy() <= high + slack).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_candidate_without_a_cost_is_the_last_choice(name):
    def broken(plans):
        costs = away(BEST)(plans)
        return torch.where(torch.arange(costs.shape[1]) == 0, torch.nan, costs)

    plan = find(name, cost=broken)
    assert np.isfinite(plan.cost).all()
    assert np.isfinite(plan.actions).all()
    with pytest.raises(ForeactError, match="no candidate's cost is a number"):
        find(name, cost=lambda plans: plans.sum(dim=(-1, -2)) * torch.nan)


def test_seconds_end_a_search_after_the_iteration_that_it_is_in():
    budget = Budget(iterations=10_000, seconds=0.05)
    plan = search(
        away(BEST), make_solver("cem"), torch.zeros(2, 2, 2), steps=2, bounds=BOUNDS, budget=budget, seeds=[1, 2]
    )
    assert 1 <= len(plan.diagnostics.seconds) < 10_000
    assert (plan.diagnostics.seconds[:-1] < 0.05).all()


def test_knots_are_joined_by_straight_lines():
    np.testing.assert_allclose(knots_to_steps(3, 5) @ torch.tensor([0.0, 2.0, 0.0]), [0, 1, 2, 1, 0])
    np.testing.assert_allclose(knots_to_steps(4, 4), np.eye(4))


def test_bounds_are_those_of_the_recordings_within_what_the_robot_takes():
    actions = np.array([[0.0, 1.0], [2.0, 9.0], [np.nan, np.nan]])
    bounds = Bounds.of(actions, np.array([-1.0, 2.0]), np.array([1.0, 20.0]))
    np.testing.assert_array_equal([bounds.low, bounds.high, bounds.middle], [[0, 2], [1, 9], [1, 5]])
    back = bounds.actions(bounds.units(np.array([0.25, 3.0])))
    np.testing.assert_allclose(back, [0.25, 3.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bounds(np.ones(2), np.zeros(2), np.zeros(2)), "bounds of actions are empty"),
        (lambda: Bounds(np.ones(2), np.ones(2), np.ones(2)), "bounds of actions are empty"),
        (lambda: Bounds(np.zeros(1), np.full(1, np.inf), np.zeros(1)), "NaN or infinite"),
        (lambda: Bounds.of(np.empty((0, 2))), "have no actions"),
        (lambda: Budget(iterations=0), "a budget of 0 iterations"),
        (lambda: Budget(seconds=0.0), "0.0 seconds is none"),
        (lambda: make_solver("annealing"), "unknown solver 'annealing': choose one of cem, mppi, gradient, shooting"),
        (lambda: make_solver("cem", temperature=1.0), "temperature means nothing for cem; its options: samples, deviation, elites"),
        (lambda: make_solver("cem", samples="many"), "cem's samples must be a whole number, not 'many'"),
        (lambda: make_solver("cem", samples=4, elites=5), "1 to 4 elites of its 4 samples"),
        (lambda: make_solver("mppi", temperature=0.0), "temperature above 0"),
        (lambda: make_solver("gradient", rate=-1), "rate must be above 0"),
        (lambda: make_solver("shooting", samples=0), "at least one sample"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_named(make, message):
    with pytest.raises(ForeactError, match=message):
        make()
