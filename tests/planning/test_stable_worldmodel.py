"""stable-worldmodel's solvers with our dreams, and ours with its models; with the real package where it is installed."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from toy_dream import CAMERA, picture, toy_dream

from foreact.core.errors import ForeactError
from foreact.planning.bounds import Bounds
from foreact.planning.judging import Imagined
from foreact.planning.objectives import TokenDistance
from foreact.planning.planner import GOAL, Planner
from foreact.planning.search import Budget
from foreact.planning.solvers import make_solver
from foreact.planning.stable_worldmodel import ForSolvers, OfModel

BOUNDS = Bounds(np.full(2, -5.0), np.full(2, 5.0), np.zeros(2))
NOW, THERE = picture((100, 100, 0), (50, 60, 0)), picture((110, 92, 0), (50, 66, 0))
WAY = np.array([[10.0, -8.0], [0.0, 6.0]])


def judge():
    return Imagined(dream=toy_dream(), objective=TokenDistance("l1"), chunk=3)


class Theirs:
    """A model in their shape: pictures (B, S, 1, 3, height, width) in [0, 1], actions in twos and halved."""

    def get_cost(self, info, candidates):
        assert candidates.shape[2:] == (3, 4)
        moved = 2 * candidates.unflatten(-1, (2, 2)).sum(dim=(2, 3)) / 255
        apart = (info["goal"] - info["pixels"])[:, :, 0, :2, 0, 0]
        return (apart - moved).abs().sum(dim=-1)


def test_our_solvers_plan_with_their_models():
    model = OfModel(Theirs(), prepare=lambda x: x / 255, scale=lambda x: x / 2, block=2)
    planner = Planner(model, make_solver("cem"), BOUNDS, budget=Budget(iterations=25), horizon=6, execute=3)
    planner.reset([0, 1])
    chunk = planner.act({CAMERA: NOW, GOAL: THERE})
    assert np.abs(chunk.sum(axis=1) - WAY).max() < 0.5
    assert planner.told({CAMERA: NOW, GOAL: THERE})[0].keys() == {"seconds_per_plan", "imagined_cost"}
    with pytest.raises(ForeactError, match="a plan of 5 actions does not divide into blocks of 2"):
        Planner(model, make_solver("cem"), BOUNDS, horizon=5).act({CAMERA: NOW[0], GOAL: THERE[0]})


def test_our_dreams_are_models_for_their_solvers():
    info = {
        "pixels": torch.from_numpy(NOW).movedim(-1, -3)[:, None, None].expand(2, 4, 1, 3, 4, 4),
        "goal": THERE[:, None],
    }
    blocks = torch.zeros(2, 4, 3, 4)
    blocks[:, 1] = 9.0  # beyond the bounds
    costs = ForSolvers(judge(), BOUNDS).get_cost(info, blocks)
    np.testing.assert_allclose(costs[:, 0], [6.0, 2.0], rtol=1e-5)  # L1 over three colours, one of them still
    np.testing.assert_allclose(costs[:, 1], [(20 + 38) / 3, (30 + 24) / 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("info", "width", "message"),
    [
        ({"pixels": NOW[:, None]}, 2, "the world has no 'goal'"),
        ({"pixels": NOW[:, None] / 255, "goal": THERE[:, None]}, 2, "pixels must be uint8 pictures"),
        ({"pixels": NOW[:, None], "goal": THERE[:, None]}, 3, "do not divide into actions of 2"),
    ],
)
def test_a_world_that_does_not_fit_is_named(info, width, message):
    with pytest.raises(ForeactError, match=message):
        ForSolvers(judge(), BOUNDS).get_cost(info, torch.zeros(2, 4, 3, width))


def test_the_real_package():
    """Its CEM finds the way in our dream."""
    solvers = pytest.importorskip("stable_worldmodel.solver")
    spaces = pytest.importorskip("gymnasium.spaces")
    made = solvers.CEMSolver(ForSolvers(judge(), BOUNDS), batch_size=2, num_samples=100, n_steps=20, topk=10)
    config = types.SimpleNamespace(horizon=2, receding_horizon=1, history_len=1, action_block=3, warm_start=True)
    made.configure(action_space=spaces.Box(-1, 1, (2, 2)), n_envs=2, config=config)
    actions = made.solve({"pixels": NOW[:, None], "goal": THERE[:, None]})["actions"]
    found = BOUNDS.actions(actions.reshape(2, 6, 2)).sum(dim=1)
    assert np.abs(found.numpy() - WAY).max() < 1.5
