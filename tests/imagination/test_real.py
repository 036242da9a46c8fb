"""A simulator behind the same interface: that the plumbing is right shows where PPO gets better in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreact.core.progress import progress_bar
from foreact.envs.env import RobotEnv
from foreact.imagination import RealVectorEnv
from foreact.imagination.ppo import PPOConfig
from foreact.imagination.run import PPORequest, run_ppo
from foreact.policies.bc import Camera
from foreact.training.journal import read_log
from tests.dot_world import Dot
from tests.imagination.worlds import save, small_policy

SIZE = 12
TOP = "observation.images.top"


def envs(count, *, max_steps=16):
    return [RobotEnv(Dot(SIZE, 5), max_steps=max_steps) for _ in range(count)]


def actions_of(env, seed):
    return np.random.default_rng(seed).uniform(-1, 1, env.action_space.shape)


def test_it_is_what_gymnasium_asks_for_and_ends_episodes_of_two_kinds():
    env = RealVectorEnv(envs(40), chunk=4)
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    kinds = set()
    for k in range(8):
        towards = (SIZE / 2 - seen["observation.state"]) / 4
        towards[::2] = 0  # these stand still
        seen, _, terminated, truncated, infos = env.step(np.repeat(towards[:, None], 4, axis=1))
        assert env.observation_space.contains(seen)
        assert not (terminated & truncated).any()
        assert terminated[::2].sum() == 0
        assert (infos["success"][terminated]).all()
        kinds |= {"terminated"} if terminated.any() else set()
        kinds |= {"truncated"} if truncated.any() else set()
        if k < 3:
            assert not truncated.any()
    assert kinds == {"terminated", "truncated"}
    assert all(one.world.drawn <= 1 + 8 * 2 for one in env.envs)  # a last look and a first one


def test_an_environment_is_the_same_alone_and_among_others_and_goes_on_from_its_state():
    many, alone, again = (RealVectorEnv(envs(count), chunk=4) for count in (5, 1, 5))
    many.reset(seed=[7, 8, 9, 10, 11])
    alone.reset(seed=[9])
    for k in range(9):
        chunk = actions_of(many, k)
        state, before = many.state(), k
        told, own = many.step(chunk), alone.step(chunk[2:3])
        assert told[1][2] == own[1][0]
        np.testing.assert_array_equal(told[0]["observation.state"][2], own[0]["observation.state"][0])
        if before == 6:
            again.seed_rows([7, 8, 9, 10, 11])
            again.restore(state)
            np.testing.assert_array_equal(again.step(chunk)[0][TOP], told[0][TOP])


def test_ppo_gets_better_in_it(tmp_path):
    """The middle is always up and to the right of where the dot begins; the cloned policy goes nowhere."""
    config = small_policy(cameras=(Camera(name=TOP, height=SIZE, width=SIZE),), action=("dx", "dy"), fps=5.0)
    policy = save(replace(config, state=("x", "y")), tmp_path / "bc")
    ppo = PPOConfig(
        rollouts=12, envs=16, steps=4, minibatch=32, epochs=3, learning_rate=1e-2, rank=0, bound=1.0, target_kl=0.3
    )
    asked = PPORequest(policy=policy, out=tmp_path / "ppo", config=ppo, simulators=envs)
    run_ppo(asked, progress_bar)
    rewards = [line["reward"] for line in read_log(tmp_path / "ppo")]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 3
