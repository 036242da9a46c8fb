"""ManiSkill itself as an environment, where it is installed: an episode depends on its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from foreact.core.errors import ForeactError
from foreact.envs.maniskill.world import CARD, PAPERS
from foreact.envs.registry import make_env

pytest.importorskip("mani_skill")
CAMERA = "observation.images.front"


@pytest.fixture(params=PAPERS)
def task(request):
    return request.param


def make(task):
    try:
        return make_env(f"maniskill/{task}", image_size=32)
    except ForeactError as error:
        pytest.skip(str(error))  # no Vulkan, or the robot's files are not here


def shaken(env, seed, steps=6):
    """States, hidden poses, rewards and pictures of an episode of random targets near the first joints."""
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    rest = np.resize(observation["observation.state"], env.action_space.shape)
    seen = [observation[CAMERA].ravel()]
    for _ in range(steps):
        _, reward, *_ = env.step(rest + rng.normal(0.0, 0.1, rest.shape))
        seen += [env.world.state(), *env.world.hidden().values(), np.array([reward]), env.render().ravel()]
    return np.concatenate(seen)


def test_an_episode_depends_on_its_seed_alone(task):
    """Neither on the episodes before it nor on another simulator that runs between its steps."""
    env, other = make(task), make(task)
    first = shaken(env, 3)
    again = shaken(env, 3)
    shaken(other, 5, steps=20)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(shaken(other, 3), first)
    assert not np.array_equal(shaken(other, 4), first)


def test_gymnasium_accepts_it(task):
    check_env(make(task), skip_render_check=True)


@pytest.mark.parametrize("task", ["PokeCube", "RollBall"], indirect=True)
def test_a_scripted_expert_succeeds_within_the_limit_in_torch_and_numpy_of_the_simulator(task):
    env = make(task)
    expert = CARD.policies["expert"](env.world)
    done = []
    for seed in range(3):
        env.reset(seed=seed)
        expert.reset([seed])
        ended = cut = False
        while not (ended or cut):
            reward, ended, cut, info = env.advance(expert.act({})[0])
        done.append(info["success"])
        assert reward == pytest.approx(1.0) or not ended
    assert sum(done) >= 2


@pytest.mark.parametrize("task", ["PullCube"], indirect=True)
def test_the_planner_refuses_numpy_2_instead_of_crashing(task, monkeypatch):
    env = make(task)
    env.reset(seed=0)
    monkeypatch.setattr(np, "__version__", "2.2.6")
    with pytest.raises(ForeactError, match="numpy 2"):
        CARD.policies["expert"](env.world).reset([0])
