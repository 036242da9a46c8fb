"""The policy that plans, in a dream whose best plan is known."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from toy_dream import CAMERA, picture, toy_dream

from foreact.core.errors import ForeactError
from foreact.planning.bounds import Bounds
from foreact.planning.config import PlannerConfig
from foreact.planning.judging import Imagined, Risk
from foreact.planning.objectives import TokenDistance, WeightedSum, parse_objective
from foreact.planning.planner import GOAL, GOAL_STEPS, Planner
from foreact.planning.solvers import make_solver

BOUNDS = Bounds(np.array([-5.0, -5.0]), np.array([5.0, 5.0]), np.zeros(2))
NOW, THERE = picture((100, 100, 0), (50, 60, 0)), picture((110, 92, 0), (50, 66, 0))
WAY = np.array([[10.0, -8.0], [0.0, 6.0]])


def planner(dream=None, **options):
    config = PlannerConfig(**({"iterations": 25, "horizon": 6, "execute": 3, "objective": "l1"} | options))
    made = config.planner(dream or toy_dream(), BOUNDS)
    made.reset([0, 1])
    return made


def see(now=NOW, goal=THERE, **more):
    return {CAMERA: now, GOAL: goal, **more}


@pytest.mark.parametrize(("solver", "within"), [("cem", 0.5), ("mppi", 0.5), ("gradient", 1.0), ("shooting", 6.0)])
def test_plans_lead_to_the_goal(solver, within):
    """Six actions in two chunks, whose sum is the way."""
    chunk = planner(solver=solver).act(see())
    assert chunk.shape == (2, 6, 2)
    assert np.abs(chunk.sum(axis=1) - WAY).max() < within


def test_the_gradient_goes_through_the_dream():
    judge = Imagined(dream=toy_dream(), objective=TokenDistance("l2"), chunk=3)
    plans = torch.full((1, 1, 6, 2), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(judge.costs(NOW[:1], THERE[:1], [0])(plans).sum(), plans)
    expected = 2 * (np.array([3.0, 3.0]) - WAY[0]) / 3  # of the mean over three colours
    np.testing.assert_allclose(slope[0, 0], np.tile(expected, (6, 1)), rtol=1e-5)


def test_a_near_goal_is_reached_in_as_many_actions_as_are_left():
    chunk = planner().act(see(**{GOAL_STEPS: np.array([2, 6])}))
    np.testing.assert_allclose(chunk[0, :2].sum(axis=0), [10.0, -8.0], atol=0.5)
    np.testing.assert_array_equal(chunk[0, 2:], np.tile(chunk[0, 1], (4, 1)))


def test_rows_are_planned_alike_alone_and_together():
    together, alone = planner().act(see(**{GOAL_STEPS: np.array([4, 6])})), planner()
    alone.reset([1])
    one = alone.act({name: value[1] for name, value in see(**{GOAL_STEPS: np.array([4, 6])}).items()})
    assert one.shape == (6, 2)
    np.testing.assert_allclose(together[1], one, atol=1e-3)


def test_the_next_plan_begins_with_what_is_left_of_the_last():
    warm, cold = planner(iterations=1), planner(iterations=1, warm=False)
    for made in (warm, cold):
        made.act(see())
    left = warm._rows[0].actions[3:]
    np.testing.assert_allclose(BOUNDS.actions(warm._first(warm._rows[0], 6))[:3], left, atol=1e-5)
    np.testing.assert_allclose(BOUNDS.actions(cold._first(cold._rows[0], 6)), np.zeros((6, 2)), atol=1e-6)
    warm.reset([0, 1])
    assert not len(warm._rows[0].actions)


def test_all_candidates_have_the_same_noise():
    """The same plan costs the same to the bit wherever it stands, and however many are dreamt at a time."""
    costs = []
    for batch in (7, 512):
        judge = Imagined(dream=toy_dream(slip=1.0), risk=Risk(futures=3), chunk=3, batch=batch)
        plans = torch.ones(2, 5, 6, 2) * torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0])[None, :, None, None]
        costs.append(judge.costs(NOW, THERE, [3, 4])(plans))
        assert max(judge.dream.world_model.calls) <= batch
    assert torch.equal(costs[0][:, 0], costs[0][:, 2])
    assert not torch.equal(costs[0][:, 0], costs[0][:, 1])
    assert torch.equal(costs[0], costs[1])


def test_one_who_fears_the_spread_keeps_off_what_slips():
    """Red moves, but not for sure: who plans for the mean goes a longer way than who looks at the worst, or at the spread."""
    ways = [
        np.abs(planner(toy_dream(slip=0.5), futures=4, iterations=12, **risk).act(see())[0, :, 0].sum())
        for risk in ({}, {"worst": True}, {"spread": 3.0})
    ]
    assert ways[1] < ways[0]
    assert ways[2] < ways[0]


def test_risk_is_the_mean_the_worst_and_the_spread():
    costs = torch.tensor([[[1.0, 3.0]]])
    told = [Risk(futures=2, **risk).weigh(costs).item() for risk in ({}, {"worst": True}, {"spread": 0.5})]
    assert told == [2.0, 3.0, 2.5]


def test_a_planner_tells_what_was_imagined_and_what_came_of_it():
    made = planner(objective="l2")
    made.act(see())
    for row, end in zip(made.told(see(now=THERE)), (0.0, 0.0)):
        assert row["seconds_per_plan"] > 0
        assert row["imagined_cost"] < 0.1
        assert row["real_cost"] == end
    stayed = made.told(see(now=NOW))[0]
    assert stayed["real_cost"] == pytest.approx((100 + 64) / 3)


def test_objectives_of_words():
    start, goal = torch.zeros(1, 2, 2), torch.tensor([[[0.0, 0.0], [2.0, 2.0]]])
    future = torch.stack([start, goal / 2], dim=1)  # half of the way, after two chunks
    told = {words: parse_objective(words)(future, goal, start).item() for words in ("l1", "l2", "l1/way", "l1/moving")}
    assert told == pytest.approx({"l1": 0.5, "l2": 0.5, "l1/way": 0.75, "l1/moving": 1.0}, abs=1e-6)
    assert parse_objective("cosine")(goal[:, None] + 1, goal + 1, start).item() == pytest.approx(0, abs=1e-6)
    both = parse_objective("l1 + 0.5*l2/way")
    assert isinstance(both, WeightedSum)
    assert both(future, goal, start).item() == pytest.approx(0.5 + 0.5 * 0.5 * (2 + 0.5), abs=1e-6)


def test_an_objective_of_the_users_own(monkeypatch):
    mine = types.ModuleType("mine")
    mine.red = lambda future, goal, start: (future[:, -1, :, 0] - goal[:, :, 0]).abs().mean(dim=1)
    monkeypatch.setitem(sys.modules, "mine", mine)
    chunk = planner(objective="mine:red").act(see())
    assert abs(chunk[0, :, 0].sum() - 10) < 0.5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: planner().act({CAMERA: NOW}), "has no goal: a planner needs a picture under 'goal.image'"),
        (lambda: planner().act(see(goal=THERE[:, :2])), r"goal picture is uint8 \(2, 2, 4, 3\), the camera's are"),
        (lambda: planner().act(see(goal=THERE.astype(float))), "goal picture is float64"),
        (lambda: planner().act({GOAL: THERE}), "looks at one camera"),
        (lambda: planner().act(see(now=NOW[:1], goal=THERE[:1])), "1 observations for 2 episodes"),
        (lambda: planner(horizon=2), "at most all of the actions it plans"),
        (lambda: planner(chunk=4), "a chunk of this model has 1 to 3 actions, not 4"),
        (lambda: planner(knots=0), "has a knot"),
        (lambda: planner(futures=4), "toy is deterministic: all of its futures are the same"),
        (lambda: planner(toy_dream(1.0), worst=True), "needs at least two of them: --futures 4"),
        (lambda: planner(objective="l3"), "unknown objective 'l3': write l1, l2, cosine or module:function"),
        (lambda: planner(objective="l1/late"), "unknown objective 'l1/late'"),
        (lambda: planner(objective="x*l1"), "'x' is no weight"),
        (lambda: planner(objective="nowhere:cost"), "'nowhere:cost' cannot be imported"),
        (lambda: Planner(Imagined(dream=toy_dream(), batch=0, chunk=3), make_solver("cem"), BOUNDS), "a batch at least 1"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_named(act, message):
    with pytest.raises(ForeactError, match=message):
        act()
