"""MetaWorld and its traps, the first half with a stand-in, too, where MetaWorld is not installed."""

from __future__ import annotations

import sys
from importlib.metadata import distributions

import fake_metaworld
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from foreact.core.errors import ForeactError
from foreact.envs.metaworld.world import CAMERA, CARD, OBJECT, MetaWorld
from foreact.envs.registry import make_env

MOVE = np.array([1.0, -0.5, 0.25, 1.0])
needs_metaworld = pytest.mark.skipif(
    not any(d.name == "metaworld" for d in distributions()), reason="MetaWorld is not installed"
)


@pytest.fixture(params=["fake", pytest.param("real", marks=needs_metaworld)])
def simulator(request, monkeypatch):
    if request.param == "fake":
        for name, module in fake_metaworld.modules().items():
            monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def world(simulator):
    made = MetaWorld("drawer-open", 32)
    yield made
    made.close()


def everything(world):
    return np.concatenate([world.state(), *world.hidden().values(), world.pictures()[CAMERA].ravel()])


def test_an_action_is_spread_over_its_period(world):
    world.start(0)
    target, time = world._env.data.mocap_pos[0].copy(), world._env.data.time
    world.act(MOVE)
    np.testing.assert_allclose(world._env.data.mocap_pos[0] - target, 0.01 * MOVE[:3])
    assert world._env.data.time - time == pytest.approx(1 / world.spec.fps)


def test_an_episode_follows_its_seed_whatever_went_before(world):
    def episode(world, seed):
        world.start(seed)
        seen = [everything(world)]
        for _ in range(12):
            world.act(MOVE)
        return np.stack([*seen, everything(world)])

    used = [episode(world, seed) for seed in (1, 2, 1)]
    fresh = MetaWorld("drawer-open", 32)
    np.testing.assert_array_equal(used[0], used[2])
    np.testing.assert_array_equal(used[2], episode(fresh, 1))
    assert np.abs(used[0] - used[1]).max() > 0.01
    fresh.close()


def test_the_first_observation_is_of_this_episode(world):
    for seed in (1, 2):
        world.start(seed)
        first = everything(world)
        sys.modules["mujoco"].mj_forward(world._env.model, world._env.data)
        world.seen = world._env._get_obs()
        np.testing.assert_array_equal(everything(world), first)


def test_pictures_are_upright(world):
    """Behind the arm is a grey wall, and below it a table."""
    world.start(0)
    top, bottom = world.pictures()[CAMERA][[0, -2]].astype(int)
    assert np.median(np.abs(top - 125)) < 8
    assert np.median(np.abs(bottom - 125)) > 20


def test_a_policy_sees_hand_and_fingers_alone(world):
    assert world.spec.state == ("hand_x", "hand_y", "hand_z", "finger_opening")
    world.start(0)
    assert world.state().shape == (4,)


@pytest.mark.parametrize("name", CARD.policies)
def test_scripted_policies_stay_within_bounds_and_repeat_themselves(world, name):
    policy, runs = CARD.policies[name](world), []
    for _ in range(2):
        world.start(3)
        policy.reset([3])
        actions = []
        for _ in range(30):
            actions.append(policy.act({}))
            world.act(actions[-1][0])
        runs.append(np.concatenate(actions))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert runs[0].shape == (30, 4)
    assert np.abs(runs[0]).max() <= 1


def test_an_episode_may_be_longer_than_metaworlds_own(world):
    world.start(0)
    for _ in range(130):
        outcome = world.act(MOVE)
    assert isinstance(outcome.success, bool)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ModuleNotFoundError(name='metaworld')", r"pip install 'foreact\[metaworld\]'"),
        ("AttributeError('no eglQueryString')", r"no eglQueryString.*apt-get install libegl1"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, tmp_path, error, message):
    package = tmp_path / "metaworld"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "env_dict.py").write_text(f"raise {error}")
    for name in [name for name in sys.modules if name.split(".")[0] == "metaworld"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForeactError, match=message):
        make_env("metaworld/button-press")
    monkeypatch.delitem(sys.modules, "metaworld")


@needs_metaworld
def test_gymnasium_accepts_it():
    env = make_env("metaworld/button-press", image_size=32)
    check_env(env, skip_render_check=True)
    env.close()


@needs_metaworld
@pytest.mark.parametrize("task", CARD.tasks)
def test_the_expert_succeeds_within_the_limit(task):
    env = make_env(f"metaworld/{task}")
    expert = CARD.policies["expert"](env.world)
    env.world.start(7)
    expert.reset([7])
    ended = False
    while not ended:
        _, success, truncated, _ = env.advance(expert.act({})[0])
        ended = success or truncated
    assert success
    env.close()


@needs_metaworld
def test_play_moves_the_object():
    world = MetaWorld("button-press", 32)
    play, ways = CARD.policies["play"](world), []
    for seed in (0, 1):
        world.start(seed)
        play.reset([seed])
        things = []
        for _ in range(120):
            world.act(play.act({})[0])
            things.append(world.hidden()[OBJECT])
        ways.append(np.ptp(things, axis=0).max())
    assert max(ways) > 0.02
    world.close()


@needs_metaworld
def test_faucets_differ_in_words_alone_and_show_no_goal():
    pictures = []
    for task in ("faucet-open", "faucet-close"):
        world = MetaWorld(task, 64)
        world.start(5)
        pictures.append(world.pictures()[CAMERA])
        world.close()
    np.testing.assert_array_equal(*pictures)
