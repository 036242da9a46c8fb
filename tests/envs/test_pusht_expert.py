"""Push-T's expert: its model is the simulator's, and it brings the block home soon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.envs.block import centre_of, distance_to_block
from foreact.envs.registry import find_env, make_env
from foreact.envs.takes import LINGER, record_take

pytest.importorskip("gym_pusht")


@pytest.fixture(scope="module")
def env():
    return make_env("pusht", image_size=16)


@settings(max_examples=12, deadline=None)
@given(turn=st.floats(-3, 3), heading=st.floats(-3, 3), offset=st.floats(-50, 50), place=st.floats(60, 300))
@pytest.mark.parametrize("look", ["default", "unseen"])
def test_the_model_pushes_as_the_simulator_does(env, look, turn, heading, offset, place):
    """Also against a wall: within two pixels after a push of a block's size."""
    world = make_env("pusht", image_size=16, look=look).world
    way = np.array([np.cos(heading), np.sin(heading)])
    centre = centre_of(np.array([place, 256.0, turn]))
    start = centre - 110 * way + offset * np.array([-way[1], way[0]])
    assume(np.all((start > 20) & (start < 490)))
    world._info = world._env.reset(options={"reset_to_state": [*start, place, 256.0, turn]})[1]
    block = world.hidden()["observation.environment_state"]
    assume(distance_to_block(start, block, world.look.boxes) > 20)
    for step in range(14):
        world.act(start + min((step + 1) * 12.0, 120.0) * way)
    steps = 60
    run = np.linalg.norm(world.state() - start) / steps
    after = world.model.pushed(block[None], start[None], run * way[None], steps)[-1, 0]
    real = world.hidden()["observation.environment_state"]
    assert np.abs(centre_of(after) - centre_of(real)).max() < 4.0
    assert abs(after[2] - real[2]) < 0.08


def test_the_expert_is_done_soon_and_then_leaves_the_block_alone():
    env = make_env("pusht", image_size=16, start="near")
    make = find_env("pusht")[0].policies["expert"]
    takes = [record_take(env, make(env.world), seed=seed) for seed in range(4)]
    assert all(take.success for take in takes)
    assert max(len(take.columns["action"]) for take in takes) < 100 + LINGER
    for take in takes:
        assert take.columns["next.success"][-LINGER:].all()
        block = take.columns["observation.environment_state"]
        np.testing.assert_allclose(block[-1], block[-LINGER], atol=1.0)


@pytest.mark.slow
def test_the_expert_solves_gym_pushts_own_starts(env):
    make = find_env("pusht")[0].policies["expert"]
    assert np.mean([record_take(env, make(env.world), seed=seed).success for seed in range(20)]) >= 0.9


def test_near_is_near_and_any_other_start_is_refused(env):
    near = make_env("pusht", image_size=16, start="near")
    assert near.max_steps < env.max_steps
    for seed in range(20):
        near.reset(seed=seed)
        block, goal = near.world.hidden()["observation.environment_state"], near.world.goal
        assert 55 < np.linalg.norm(centre_of(block) - centre_of(goal)) < 125
        assert abs(block[2] - goal[2]) < np.pi / 4 + 0.01
        assert distance_to_block(near.world.state(), block) > 15
    with pytest.raises(ForeactError, match="anywhere, near"):
        make_env("pusht", start="far")
