"""Push-T's expert: its model is the simulator's, and it brings the block home soon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foreact.core.errors import ForeactError
from foreact.envs.block import centre_of, distance_to_block, rotate
from foreact.envs.registry import find_env, make_env
from foreact.envs.takes import LINGER, record_take

pytest.importorskip("gym_pusht")


@pytest.fixture(scope="module")
def env():
    return make_env("pusht", image_size=16)


@settings(max_examples=12, deadline=None)
@given(turn=st.floats(-3, 3), heading=st.floats(-3, 3), offset=st.floats(-50, 50), place=st.floats(230, 280))
@pytest.mark.parametrize("look", ["default", "unseen"])
def test_the_model_pushes_as_the_simulator_does(env, look, turn, heading, offset, place):
    """Within five pixels and three degrees on the open floor, after a push of a block's size."""
    world = make_env("pusht", image_size=16, look=look).world
    way = np.array([np.cos(heading), np.sin(heading)])
    centre = centre_of(np.array([place, 256.0, turn]))
    start = centre - 110 * way + offset * np.array([-way[1], way[0]])
    assume(np.all((start > 20) & (start < 490)))
    world._info = world._env.reset(options={"reset_to_state": [*start, place, 256.0, turn]})[1]  # no seed gives this
    block = world.hidden()["observation.environment_state"]
    assume(distance_to_block(start, block, world.look.boxes) > 20)
    for step in range(14):
        world.act(start + min((step + 1) * 12.0, 120.0) * way)
    steps = 60
    run = np.linalg.norm(world.state() - start) / steps
    after = world.model.pushed(block[None], start[None], run * way[None], steps)[-1, 0]
    real = world.hidden()["observation.environment_state"]
    assert np.abs(centre_of(after) - centre_of(real)).max() < 5.0
    assert abs(after[2] - real[2]) < 0.05


def test_walls_keep_the_modelled_block_inside(env):
    env.reset(seed=0)
    model, block = env.world.model, np.array([100.0, 256.0, 1.0])
    poses = model.pushed(block[None], np.array([[220.0, 256.0]]), np.array([[-2.5, 0.0]]), 60)[:, 0]
    corners = np.stack([pose[:2] + rotate(model.corners, pose[2]) for pose in poses])
    assert corners.min() > model.walls[0] - 2.5
    assert np.abs(poses[-1] - block).max() > 10


def test_the_expert_is_done_soon_and_then_leaves_the_block_alone():
    env = make_env("pusht", image_size=16, start="near")
    make = find_env("pusht")[0].policies["expert"]
    takes = [record_take(env, make(env.world), seed=seed) for seed in range(2)]
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


@pytest.mark.parametrize(("start", "turn"), [("near", np.pi / 4), ("behind", np.pi / 12)])
def test_near_is_near_and_behind_is_behind(env, start, turn):
    near = make_env("pusht", image_size=16, start=start)
    assert near.max_steps < env.max_steps
    for seed in range(20):
        near.reset(seed=seed)
        block, goal = near.world.hidden()["observation.environment_state"], near.world.goal
        centre, home, agent = centre_of(block), centre_of(goal), near.world.state()
        assert 55 < np.linalg.norm(centre - home) < 125
        assert abs(block[2] - goal[2]) < turn + 0.01
        assert distance_to_block(agent, block) > 15
        if start == "behind":
            assert np.dot(agent - centre, home - centre) < -0.9 * np.linalg.norm(agent - centre) * np.linalg.norm(
                home - centre
            )


def test_success_is_what_was_asked_for():
    easy, hard = (make_env("pusht", image_size=16, start="behind", covered=share) for share in (0.5, 0.95))
    make = find_env("pusht")[0].policies["expert"]
    takes = [record_take(env, make(env.world), seed=3) for env in (easy, hard)]
    assert all(take.success for take in takes)
    assert len(takes[0].columns["action"]) < len(takes[1].columns["action"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "far"}, "anywhere, near, behind"),
        ({"covered": 0.0}, "above 0 and at most 0.95, not 0"),
        ({"covered": 1.0}, "not 1"),
    ],
)
def test_other_options_are_refused(options, said):
    with pytest.raises(ForeactError, match=said):
        make_env("pusht", **options)


def test_what_is_placed_is_seen_where_it_is_and_goes_on_as_recorded(env):
    """The picture too, before any step: else who drives or plans looks at another scene."""
    env = make_env("pusht", image_size=96, start="near")
    env.reset(seed=4)
    for _ in range(6):
        env.step(np.array([300.0, 200.0]))
    was, seen = env.world.snapshot(), env.world.pictures()
    env.reset(seed=5)
    assert any(np.abs(env.world.pictures()[name].astype(int) - picture).max() > 100 for name, picture in seen.items())
    env.world.place(was)
    for name, picture in seen.items():
        assert np.abs(env.world.pictures()[name].astype(int) - picture).mean() < 0.5
